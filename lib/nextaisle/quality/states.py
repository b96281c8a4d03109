"""What is built of each table, what is missing and what is stale, as job_runs and Delta's log tell. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Row
from pyspark.sql import functions as F

from nextaisle.contract.tables import JOB_RUNS, SOURCE_FILES, Table
from nextaisle.job import Job, Night, rules_key
from nextaisle.ledger import newest_first, versions_read_last
from nextaisle.storage.delta_log import Version
from nextaisle.storage.store import Store

CONFIGURATION = "configuration"
FILES = "files of the logs"


@dataclass(frozen=True)
class TableState:
    """A table and its days; `changed` is what its job depends on and has not seen as it is now.

    | days         | have                                            |
    |--------------|-------------------------------------------------|
    | `days`       | rows                                            |
    | `missing`    | inputs that the job has not seen, and no rows   |
    | `stale`      | rows, and inputs that changed since             |

    A table without days is stale as a whole, where `changed` says something.
    """

    table: Table
    row_count: int
    days: frozenset[date]
    missing: frozenset[date]
    stale: frozenset[date]
    changed: tuple[str, ...]
    last_run: Row | None

    @property
    def is_up_to_date(self) -> bool:
        return not self.changed


@dataclass(frozen=True)
class Runs:
    """A job's last run, its last success, and of each table the version that its successes read last."""

    last: Row | None
    done: Row | None
    read: Mapping[str, Version]


@dataclass(frozen=True)
class Logs:
    """Days in the logs, those with files that were not read as they are now, and those that were read ever."""

    logged: frozenset[date]
    unread: frozenset[date]
    read: frozenset[date]

    @classmethod
    def of(cls, store: Store, logged: Iterable[date], unread: Iterable[date]) -> "Logs":
        days = store.read(SOURCE_FILES).select("ingest_date").distinct().collect()
        return cls(frozenset(logged), frozenset(unread), frozenset(row["ingest_date"] for row in days))


def table_states(night: Night, daily: Sequence[Job], newest: Sequence[Job], logs: Logs) -> list[TableState]:
    """The states of the tables that these jobs write: the `daily` ones for every day, the others for the newest alone.

    A table that two jobs write belongs to the first.
    """
    writers: dict[str, tuple[Table, Job]] = {}
    for job in (*daily, *newest):
        for table in job.writes:
            writers.setdefault(table.name, (table, job))
    runs = {name: _runs(night.store, name) for name in {job.name for _, job in writers.values()}}
    return [_state(night, table, job, runs[job.name], logs, job in daily) for table, job in writers.values()]


def _state(night: Night, table: Table, job: Job, runs: Runs, logs: Logs, is_daily: bool) -> TableState:
    counts = _counts(night.store, table)
    days = frozenset(day for day in counts if day)
    due, changed = _due(night, job, runs, logs)
    if not is_daily:
        due = {max(due)} if due else set()
    # A day of the logs may have been read without an event of its own.
    known = logs.read if not job.reads else days
    missing, stale = (frozenset(due - known), frozenset(due & known)) if table.day else (frozenset(), frozenset())
    return TableState(table, sum(counts.values()), days, missing, stale, changed, runs.last)


def _due(night: Night, job: Job, runs: Runs, logs: Logs) -> tuple[set[date], tuple[str, ...]]:
    """The days that the job would build anew, and why."""
    is_other = runs.done is not None and runs.done["rules_key"] != rules_key(job, night.settings)
    why: tuple[str, ...] = (CONFIGURATION,) if is_other else ()
    if not job.reads:
        unread = logs.unread | (logs.logged - logs.read)
        due = set(unread | logs.read if is_other else unread)
        return due, (*why, *((FILES,) if unread or not runs.done else ()))
    due = set()
    for table in job.reads:
        if night.store.exists(table):
            days, is_changed = _changed(night.store, table, None if is_other else runs.read.get(table.name))
            due |= days
            why += (table.name,) if is_changed else ()
    return due, why if runs.done else ("never built", *why)


def _changed(store: Store, table: Table, since: Version | None) -> tuple[set[date], bool]:
    """The days of a table that changed since a version (None: all), and whether it is another version at all."""
    if since == store.version(table):
        return set(), False
    if not table.day:
        return set(), True
    days = store.changed_days(table, since) if since is not None else None
    return (_days(store, table), True) if days is None else (days, bool(days))


def _days(store: Store, table: Table) -> set[date]:
    if not table.day:
        return set()
    return {row["day"] for row in store.read(table).select(F.col(table.day).alias("day")).distinct().collect()}


def _counts(store: Store, table: Table) -> dict[date | None, int]:
    """Rows by day; under None where the table has no days."""
    if not store.exists(table):
        return {}
    rows = store.read(table)
    if not table.day:
        return {None: rows.count()}
    return {row["day"]: row["count"] for row in rows.groupBy(F.col(table.day).alias("day")).count().collect()}


def _runs(store: Store, job: str) -> Runs:
    runs = store.read(JOB_RUNS).where(F.col("job") == job)
    done = runs.where("outcome = 'done'")
    return Runs(newest_first(runs).first(), newest_first(done).first(), versions_read_last(done))
