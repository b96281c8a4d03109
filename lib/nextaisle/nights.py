"""Which days a night without --date builds: those in the logs that no finished night has built."""

from collections.abc import Iterable
from datetime import date, timedelta

from pyspark.sql import functions as F

from nextaisle.ledger import finished_runs, newest_first
from nextaisle.storage.store import Store


def days_to_build(store: Store, logged: Iterable[date], unread: Iterable[date]) -> tuple[date | None, date | None]:
    """First and last day that no finished night covers, or whose files were not read as they are now; where there
    is none, the days of the newest finished night.

    The second case makes a repeated night do nothing: every job finds that it has done these days already. After a
    night that was killed, the first case makes it go on: the jobs that had ended find nothing to do.

    | days in the logs | finished nights | unread files on | first, last  |
    |------------------|-----------------|-----------------|--------------|
    | 1, 2, 3          | none            | 1, 2, 3         | 1, 3         |
    | 1, 2, 3          | 1 to 2          | 3               | 3, 3         |
    | 1, 2, 3          | 1 to 2, 3 to 3  | none            | 3, 3 (again) |
    | 1, 2, 3          | 1 to 2, 3 to 3  | 2               | 2, 3         |
    """
    nights = _finished_nights(store)
    missing = sorted((set(logged) - _days_of(nights)) | set(unread))
    if missing:
        # Through the newest day: what a mended old day changes, later days' lists depend on.
        return missing[0], max(missing[-1], *(last for _, last in nights)) if nights else missing[-1]
    return nights[0] if nights else (None, None)


def finished_days(store: Store) -> set[date]:
    """The days of all finished nights."""
    return _days_of(_finished_nights(store))


def _finished_nights(store: Store) -> list[tuple[date, date]]:
    """The newest first."""
    rows = newest_first(finished_runs(store, "nightly").where(F.col("first_date").isNotNull())).collect()
    return [(row["first_date"], row["last_date"]) for row in rows]


def _days_of(nights: Iterable[tuple[date, date]]) -> set[date]:
    return {first + timedelta(days=n) for first, last in nights for n in range((last - first).days + 1)}
