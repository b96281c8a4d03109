"""Which days a night without --date builds: those in the logs that no finished night has built."""

from collections.abc import Iterable
from datetime import date, timedelta

from pyspark.sql import functions as F

from nextaisle.contract.tables import JOB_RUNS
from nextaisle.store import Store


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
    built = {day for first, last in nights for day in _days(first, last)}
    missing = sorted((set(logged) - built) | set(unread))
    if missing:
        # Through the newest day: what a mended old day changes, later days' lists depend on.
        return missing[0], max(missing[-1], *(last for _, last in nights)) if nights else missing[-1]
    return nights[-1] if nights else (None, None)


def _finished_nights(store: Store) -> list[tuple[date, date]]:
    runs = store.read(JOB_RUNS).where((F.col("job") == "nightly") & (F.col("outcome") == "done"))
    rows = runs.where(F.col("first_date").isNotNull()).orderBy("started_time", "run_id").collect()
    return [(row["first_date"], row["last_date"]) for row in rows]


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
