"""The ledger of runs, table job_runs: which run of a job was the newest, and which tables it read and left.

Its own commits number the runs: a machine's clock may have been wrong for a night.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from nextaisle.contract.tables import JOB_RUNS, TABLES, Table
from nextaisle.storage.delta_log import Version
from nextaisle.storage.store import Store

# In the rows of a run that wrote sequences: the day through which it left them compacted, 2017-11-30 as 20171130.
_COMPACTED: Final = "compacted_through"


def finished_runs(store: Store, job: str) -> DataFrame:
    """The runs of `job` that did something and succeeded, as the ledger is now."""
    return store.fresh().read(JOB_RUNS).where((F.col("job") == job) & (F.col("outcome") == "done"))


def newest_first(runs: DataFrame) -> DataFrame:
    """Runs of an earlier release have no number, and come last, by their times."""
    return runs.orderBy(F.desc_nulls_last("run_number"), F.desc("started_time"), "run_id")


def version_read(run: Row, table: Table) -> Version | None:
    return _version(run, run["versions_read"], table)


def version_left(run: Row, table: Table) -> Version | None:
    return _version(run, run["versions_written"], table)


def dated_tables_left(run: Row) -> list[tuple[Table, Version]]:
    """The tables with days that the run left, and as which versions."""
    left = {table: version_left(run, table) for table in map(TABLES.__getitem__, run["versions_written"]) if table.day}
    return [(table, version) for table, version in left.items() if version]


def versions_read_last(runs: DataFrame) -> dict[str, Version]:
    """Of each table the version that the newest of the runs which read it has read."""
    order = F.struct(F.coalesce("run_number", F.lit(-1)), "started_time").alias("order")
    read = runs.select(order, "table_ids", F.explode("versions_read").alias("name", "number"))
    version = F.struct("number", F.coalesce(F.col("table_ids")[F.col("name")], F.lit("")).alias("table_id"))
    newest = read.groupBy("name").agg(F.max_by(version, "order").alias("version"))
    return {row["name"]: Version(*row["version"]) for row in newest.collect()}


def compacted_day(store: Store) -> date | None:
    """Through which day table sequences is compacted, as the newest run told that wrote it; None where none did.

    A run that was killed after its commit has told nothing: until the next one a month more may be compacted.
    """
    told = F.col("rows")[_COMPACTED]
    runs = store.fresh().read(JOB_RUNS).where((F.col("outcome") == "done") & told.isNotNull())
    run = newest_first(runs.select(told.alias("number"), "run_number", "started_time", "run_id")).first()
    return date.fromisoformat(str(run["number"])) if run else None


def compacted_count(day: date) -> dict[str, int]:
    """What a run that wrote sequences adds to its rows, for `compacted_day`."""
    return {_COMPACTED: int(f"{day:%Y%m%d}")}


def left_the_current(run: Row, store: Store) -> bool:
    """Whether the tables are those that the run left, and as it left them."""
    tables = [TABLES[name] for name in run["versions_written"]]
    return all(store.version(table) == version_left(run, table) for table in tables)


def has_its_tables(run: Row, store: Store) -> bool:
    """Whether the tables that the run left are still there; others may have written them since."""
    left = {name: version_left(run, TABLES[name]) for name in run["versions_written"]}
    return all(version is not None and store.knows(TABLES[name], version) for name, version in left.items())


def _version(run: Row, numbers: Mapping[str, int], table: Table) -> Version | None:
    """Of a run of an earlier release, a version of no table that there is."""
    ids = run["table_ids"] or {}
    return Version(numbers[table.name], ids.get(table.name, "")) if table.name in numbers else None
