"""What is built of each table, what is missing and what is stale, told from job_runs and Delta's log. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Row
from pyspark.sql import functions as F

from nextaisle.contract.tables import EVENTS, JOB_RUNS, SEQUENCES, SOURCE_FILES, Table
from nextaisle.job import Job, Night, rules_key
from nextaisle.store import Store


@dataclass(frozen=True)
class TableState:
    """A table: its days (none where it has no days), and those that its job would have to build.

    `missing` days have no rows yet, though their inputs are there; `stale` days have rows whose inputs changed since.
    A table without days is stale as a whole: `is_stale`. `reason` says what changed.
    """

    table: Table
    row_count: int
    days: tuple[date, ...] = ()
    missing: tuple[date, ...] = ()
    stale: tuple[date, ...] = ()
    is_stale: bool = False
    reason: str = ""
    last_run: Row | None = None


@dataclass(frozen=True)
class Runs:
    """What job_runs says of a job: its last run, the last that succeeded, and the version of each table it then read."""

    last: Row | None
    done: Row | None
    read: Mapping[str, int]


def table_states(
    night: Night, daily: Sequence[Job], last_day: Sequence[Job], logged: Iterable[date], unread: Iterable[date]
) -> list[TableState]:
    """The states of the tables of these jobs: `daily` ones build every day, the others the last one alone.

    `logged` are the days in the logs, `unread` those with files that were not read as they are now.
    """
    found: dict[str, TableState] = {}
    for job in (*daily, *last_day):
        runs = _runs(night.store, job.name)
        for table in job.writes:
            if night.store.exists(table) and table.name not in found:
                found[table.name] = _state(night, job, table, runs, job in daily, set(logged), set(unread))
    return list(found.values())


def _state(
    night: Night, job: Job, table: Table, runs: Runs, is_daily: bool, logged: set[date], unread: set[date]
) -> TableState:
    counts = _counts(night.store, table)
    days = {day for day in counts if day}
    if job.reads:
        due, reason = _due(night, job, runs, days, is_daily)
    else:
        read = {row["ingest_date"] for row in night.store.read(SOURCE_FILES).select("ingest_date").distinct().collect()}
        # A day was read when its files were; it may have brought no row.
        due, days_read = (logged - read) | unread, read
        reason = "files of the logs" if due else ""
        if runs.done and runs.done["rules_key"] != rules_key(job, night.settings):
            due, reason = due | days_read, "configuration"
        days = days if table == EVENTS else days & days_read
        return TableState(
            table, sum(counts.values()), _ordered(days), _ordered(due - days_read), _ordered(due & days_read),
            bool(due), reason, runs.last,
        )  # fmt: skip
    return TableState(
        table, sum(counts.values()), _ordered(days), _ordered(due - days) if days else (), _ordered(due & days),
        bool(due), reason, runs.last,
    )  # fmt: skip
