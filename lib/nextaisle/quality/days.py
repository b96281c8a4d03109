"""Which days a run of check_tables looks at."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from pyspark.sql import functions as F

from nextaisle.contract.tables import SOURCE_FILES, Table
from nextaisle.job import Night
from nextaisle.ledger import finished_runs, versions_read_last
from nextaisle.storage.store import Store

JOB_NAME = "check_tables"


def days_to_check(night: Night, tables: Iterable[Table], reach: int) -> tuple[date, date] | None:
    """First and last day: those asked for, and those of `tables` that changed since a run of the job last passed.

    What changed is what late events of the night touched; and `reach` days after it are held against it. Without a day
    asked for, everything. None where there is nothing to check.

    | asked  | changed since | checked                                       |
    |--------|---------------|-----------------------------------------------|
    | 9      | 9             | 9                                             |
    | 9      | 7, 9          | 7 to 9                                        |
    | 3      | 3 to 9        | 3 to 9                                        |
    | 3      | 3             | 3 to 3 + reach, as far as there are logs      |
    | 9      | nothing       | 9                                             |
    | nothing| whatever      | every day that there is                       |
    """
    dated = [table for table in tables if table.day and night.store.exists(table)]
    known = _known_days(night.store, dated)
    if known is None:
        return (night.first, night.last) if night.first and night.last else None
    if night.first is None or night.last is None:
        return known
    changed = _changed_days(night.store, dated)
    if changed is None:
        return known
    # An event may lie in the future, by clock_skew_minutes: that day has its own night.
    last_logged = max(known[1], night.last)
    first, last = night.first, night.last
    if changed := {day for day in changed if day <= last_logged}:
        first, last = min(first, *changed), max(last, min(last_logged, max(changed) + timedelta(days=reach)))
    return first, last


def _known_days(store: Store, tables: Sequence[Table]) -> tuple[date, date] | None:
    """The earliest day of any of the tables, and the last day of the logs; without files of logs, of the tables."""
    spans = [span for table in tables if (span := store.span(table))]
    if not spans:
        return None
    return min(first for first, _ in spans), _last_logged(store) or max(last for _, last in spans)


def _last_logged(store: Store) -> date | None:
    day: date | None = store.read(SOURCE_FILES).agg(F.max("ingest_date").alias("day")).collect()[0]["day"]
    return day


def _changed_days(store: Store, tables: Sequence[Table]) -> set[date] | None:
    """None where Delta no longer knows. A table that was never checked counts as unchanged: its days were not asked."""
    # A run that found an error did not finish.
    read = versions_read_last(finished_runs(store, JOB_NAME))
    found: set[date] = set()
    for table in tables:
        if table.name in read:
            days = store.changed_days(table, read[table.name])
            if days is None:
                return None
            found |= days
    return found
