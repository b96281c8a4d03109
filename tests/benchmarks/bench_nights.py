"""What one night reads and writes as history grows: it should cost what the night brought, and not what was before.

PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_nights.py [users, 5000] [days, 10 30 100 300]
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from jobs.nightly import DAYS as CHAIN
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import JOB_RUNS
from nextaisle.job import Job, execute
from nextaisle.storage.store import Store
from tests.benchmarks.session import local_session

# The night that is measured; history lies before it.
NIGHT = date(2024, 12, 15)
LOG = "event_id string, event_time timestamp, user_id string, item_id string, event_type string, price decimal(18,4)"


@dataclass(frozen=True)
class Cost:
    seconds: float
    megabytes_read: float
    megabytes_written: float


def events_of(spark: SparkSession, first: date, days: int, users: int) -> DataFrame:
    """On every fifth day, by chance, a user comes and does eight things, the last of them shortly before midnight."""
    visits = (
        spark.range(days).withColumnRenamed("id", "day").crossJoin(spark.range(users).withColumnRenamed("id", "user"))
    )
    # The day itself, not its place in this history: the night is the same whatever was before it.
    visits = visits.withColumn("event_date", F.date_add(F.lit(first), F.col("day").cast("int")))
    visits = visits.where(F.pmod(F.xxhash64("event_date", "user"), F.lit(5)) == 0)
    rows = visits.select("event_date", "user", F.explode(F.sequence(F.lit(0), F.lit(7))).alias("n"))
    seconds = F.pmod(F.xxhash64("event_date", "user"), F.lit(85_000)) + F.col("n") * 90
    midnight = F.unix_seconds(F.col("event_date").cast("timestamp"))
    kinds = F.element_at(F.split(F.lit("view,view,cart,purchase"), ","), F.pmod(F.col("n"), F.lit(4)) + 1)
    columns = {
        "event_id": F.md5(F.concat_ws(" ", *(F.col(name).cast("string") for name in ("event_date", "user", "n")))),
        "event_time": F.timestamp_seconds(F.least(midnight + seconds, midnight + 86_399)),
        "user_id": F.format_string("user%07d", "user"),
        "item_id": F.format_string("item%05d", F.pmod(F.xxhash64("event_date", "user", "n"), F.lit(20_000))),
        "event_type": kinds,
        "price": F.lit("9.90").cast("decimal(18,4)"),
    }
    return rows.withColumns(columns).select("event_date", *columns)


def settings_in(folder: Path) -> Settings:
    """Logs and tables under `folder`."""
    names = [column.split()[0] for column in LOG.split(", ")]
    sets = {
        "store.root": f"{folder}/tables", "source.path": f"{folder}/logs/event_date={{date}}/*.gz",
        "source.format": "json", "source.schema": LOG, "source.time_zone": "UTC", "demo.is_source": "false",
        **{f"source.columns.{name}": name for name in names},
    }  # fmt: skip
    return overlays.load(assignments=[f"{key}={value}" for key, value in sets.items()])


def write_logs(events: DataFrame, folder: Path) -> None:
    """A folder a day, of one gzipped file of JSON lines."""
    writer = events.repartition("event_date").write.mode("append").partitionBy("event_date")
    writer.option("compression", "gzip").json(f"{folder}/logs")


def night_after(spark: SparkSession, folder: Path, days: int, users: int) -> dict[str, Cost]:
    """The cost of each job on a night that comes after so many days."""
    settings, first = settings_in(folder), NIGHT - timedelta(days=days)
    write_logs(events_of(spark, first, days, users), folder)
    for job in CHAIN:
        _run(spark, settings, job, first, NIGHT - timedelta(days=1))
    write_logs(events_of(spark, NIGHT, 1, users), folder)
    return {job.name: _run(spark, settings, job, NIGHT, NIGHT) for job in CHAIN}


def _run(spark: SparkSession, settings: Settings, job: Job, first: date, last: date) -> Cost:
    outcome = execute(job, settings, spark, first, last)
    assert outcome.exit_code == 0, outcome.reason
    run = Store(spark, settings.store).read(JOB_RUNS).where(F.col("run_id") == outcome.run_id).collect()[0]
    return Cost(outcome.seconds, run["bytes_read"] / 1e6, run["bytes_written"] / 1e6)


def show(found: dict[int, dict[str, Cost]]) -> None:
    grid = Grid(title=f"One night after so many days ({NIGHT})", title_justify="left")
    for column in ("job", "days before", "seconds", "MB read", "MB written"):
        grid.add_column(column, justify="left" if column == "job" else "right")
    for job in CHAIN:
        for days, costs in found.items():
            cost = costs[job.name]
            cells = (f"{value:.1f}" for value in (cost.seconds, cost.megabytes_read, cost.megabytes_written))
            grid.add_row(job.name, str(days), *cells)
    Console(width=100).print(grid)


def main(words: Sequence[str]) -> None:
    users, histories = int(words[0]) if words else 5000, [int(word) for word in words[1:]] or [10, 30, 100, 300]
    spark = local_session("bench_nights", {"spark.driver.memory": "4g"})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for days in histories:
            found[days] = night_after(spark, Path(folder) / str(days), days, users)
            print(f"{days} days: {found[days]}", file=sys.stderr)
    show(found)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
