"""The marker that a consumer waits for: a row of complete_days for each day whose night ended with success.

A table and no file: it commits at once or not at all, on any Hadoop file system and in a catalog, which has no folder
for a file. Its row is written last; it goes before a night writes the day anew, and gets a new time where a later
night changed the day.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pyspark.sql import Row

from nextaisle.contract.tables import COMPLETE_DAYS, EVENTS, ITEMS, RECOMMENDATIONS, SEQUENCES, SESSIONS, USERS, Table
from nextaisle.nights import finished_days
from nextaisle.spark import local_rows
from nextaisle.storage.delta_log import Version
from nextaisle.storage.store import Store

# What a consumer of a day reads.
_CONTENTS: Final = (EVENTS, SESSIONS, SEQUENCES, ITEMS, USERS, RECOMMENDATIONS)


def writes_contents(tables: tuple[Table, ...]) -> bool:
    """Whether a job that writes these tables changes what a marker vouches for."""
    return any(table in _CONTENTS for table in tables)


def withdraw(store: Store, first: date | None, last: date | None) -> None:
    """Takes back the markers of the days first to last (None: of every day), before they are built anew."""
    days = [day for day in _markers(store) if first is None or last is None or first <= day <= last]
    if days:
        nothing = local_rows(store.spark, [], COMPLETE_DAYS.schema)
        store.replace(COMPLETE_DAYS, nothing, f"complete_date IN ({_listed(days)})")


def mark(store: Store, first: date | None, last: date) -> None:
    """Marks the days first to last, and dates anew the days marked before whose contents have changed since.

    Without a first day, from that of the earliest event on. A night that was killed has taken markers back that no
    later night's days may cover, so days of finished nights get theirs again.

    What is marked already and has not changed stays as it is, so that the same night twice commits nothing.

    | marked | night  | tables changed on | marked then          |
    |--------|--------|-------------------|----------------------|
    | 1, 2   | 3      | 3                 | 1, 2, 3              |
    | 1, 2   | 3      | 2 (late), 3       | 1, 2 with a new time, 3 |
    | 1, 3   | 3      | nothing           | 1, 3, nothing written; 2 too, where a night of it has ended |
    """
    marked = _markers(store)
    changed = _changed_days(store, marked.values())
    first = first or min(store.span(EVENTS) or (last,))
    nights = finished_days(store) | {first + timedelta(days=n) for n in range((last - first).days + 1)}
    due = (nights - set(marked)) | (set(marked) if changed is None else changed & set(marked))
    if due:
        now, versions = datetime.now(UTC), _versions(store)
        numbers = {name: version.number for name, version in versions.items()}
        ids = {name: version.table_id for name, version in versions.items()}
        rows = local_rows(store.spark, [(day, now, numbers, ids) for day in sorted(due)], COMPLETE_DAYS.schema)
        store.replace(COMPLETE_DAYS, rows.repartition("complete_date"), f"complete_date IN ({_listed(due)})")


def complete_days(store: Store) -> list[date]:
    return sorted(_markers(store))


def _markers(store: Store) -> dict[date, Row]:
    rows = store.read(COMPLETE_DAYS).collect() if store.exists(COMPLETE_DAYS) else []
    return {row["complete_date"]: row for row in rows}


def _versions(store: Store) -> dict[str, Version]:
    versions = {table.name: store.version(table) for table in _CONTENTS}
    return {name: version for name, version in versions.items() if version is not None}


def _changed_days(store: Store, marked: Collection[Row]) -> set[date] | None:
    """Days of which a table changed since the newest marker was written; None where Delta no longer knows.

    The newest marker names the greatest versions.
    """
    found: set[date] = set()
    for table in (table for table in _CONTENTS if marked and table.partition):
        if now := store.version(table):
            of_it = [row for row in marked if (row["table_ids"] or {}).get(table.name) == now.table_id]
            numbers = [row["versions"][table.name] for row in of_it]
            days = store.changed_days(table, Version(max(numbers), now.table_id)) if numbers else None
            if days is None:
                return None
            found |= days
    return found


def _listed(days: list[date] | set[date]) -> str:
    return ", ".join(f"DATE'{day:%Y-%m-%d}'" for day in sorted(days))
