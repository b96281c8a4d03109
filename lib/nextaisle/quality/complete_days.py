"""The marker that a consumer waits for: a row of complete_days for each day whose night ended with success.

A table and no file: it commits at once or not at all, on any Hadoop file system and in a catalog, which has no folder
for a file. Its row is written last; it goes before a night writes the day anew, and gets a new time where a later
night changed the day.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from pyspark.sql import functions as F

from nextaisle.contract.tables import COMPLETE_DAYS, EVENTS, ITEMS, RECOMMENDATIONS, SEQUENCES, SESSIONS, USERS, Table
from nextaisle.store import Store

# What a consumer of a day reads.
_CONTENTS: Final = (EVENTS, SESSIONS, SEQUENCES, ITEMS, USERS, RECOMMENDATIONS)
Markers = dict[date, tuple[datetime, dict[str, int]]]


def writes_contents(tables: tuple[Table, ...]) -> bool:
    """Whether a job that writes these tables changes what a marker vouches for."""
    return any(table in _CONTENTS for table in tables)


def withdraw(store: Store, first: date | None, last: date | None) -> None:
    """Takes back the markers of the days first to last (None: of every day), before they are built anew."""
    days = [day for day in _markers(store) if first is None or last is None or first <= day <= last]
    if days:
        nothing = store.spark.createDataFrame([], COMPLETE_DAYS.schema)
        store.replace(COMPLETE_DAYS, nothing, f"complete_date IN ({_listed(days)})")


def mark(store: Store, first: date | None, last: date) -> None:
    """Marks the days first to last, and dates anew the days marked before whose contents have changed since.

    Without a first day, from that of the earliest event on.

    What is marked already and has not changed stays as it is, so that the same night twice commits nothing.

    | marked | night  | tables changed on | marked then          |
    |--------|--------|-------------------|----------------------|
    | 1, 2   | 3      | 3                 | 1, 2, 3              |
    | 1, 2   | 3      | 2 (late), 3       | 1, 2 with a new time, 3 |
    | 1, 3   | 3      | nothing           | 1, 3, nothing written |
    """
    marked = _markers(store)
    changed = _changed_days(store, marked)
    first = first or _earliest_day(store) or last
    nights = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    due = (nights - set(marked)) | (set(marked) if changed is None else changed & set(marked))
    if due:
        now, versions = datetime.now(UTC), _versions(store)
        rows = store.spark.createDataFrame([(day, now, versions) for day in sorted(due)], COMPLETE_DAYS.schema)
        store.replace(COMPLETE_DAYS, rows.repartition("complete_date"), f"complete_date IN ({_listed(due)})")


def complete_days(store: Store) -> list[date]:
    return sorted(_markers(store))


def _earliest_day(store: Store) -> date | None:
    day: date | None = store.read(EVENTS).agg(F.min("event_date").alias("day")).collect()[0]["day"]
    return day


def _markers(store: Store) -> Markers:
    rows = store.read(COMPLETE_DAYS).collect() if store.exists(COMPLETE_DAYS) else []
    return {row["complete_date"]: (row["completed_time"], row["versions"]) for row in rows}


def _versions(store: Store) -> dict[str, int]:
    versions = {table.name: store.current_version(table) for table in _CONTENTS}
    return {name: version for name, version in versions.items() if version is not None}


def _changed_days(store: Store, marked: Markers) -> set[date] | None:
    """Days of which a table changed since the newest marker was written; None where Delta no longer knows."""
    if not marked:
        return set()
    _, versions = max(marked.values(), key=lambda marker: marker[0])
    found: set[date] = set()
    for table in _CONTENTS:
        if table.partition and store.exists(table):
            days = store.changed_days(table, versions.get(table.name, -1))
            if days is None:
                return None
            found |= days
    return found


def _listed(days: list[date] | set[date]) -> str:
    return ", ".join(f"DATE'{day:%Y-%m-%d}'" for day in sorted(days))
