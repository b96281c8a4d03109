"""What an event costs in a shop of one, ten and a hundred million, and on one night after the largest of them.

PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_scaling.py [events, 1000000 10000000 100000000]

A shop has a user for every fifty events, and a hundredth of its events on each of a hundred days. The night brings as
many events as the smallest shop has, of the largest one's users: by default what each of its nights brought. Beside it
stands the same night of a shop without any before it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from jobs import build_sequences, build_sessions
from nextaisle import overlays
from nextaisle.contract.tables import EVENTS
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.benchmarks.session import local_session

DAYS = 100
FIRST = date(2024, 1, 1)
NIGHT = FIRST + timedelta(days=DAYS)
EVENTS_PER_USER = 50
JOBS = (build_sessions.JOB, build_sequences.JOB)


def events_of(spark: SparkSession, first: date, days: int, events: int, users: int) -> DataFrame:
    """In visits of eight, of users with a long tail; some visits go on over midnight, but for the last day's."""
    visit = F.xxhash64(F.lit(str(first)), (F.col("id") / 8).cast("bigint"))
    dice = F.pmod(F.xxhash64(F.lit(str(first)), "id"), F.lit(1 << 30)) / F.lit(float(1 << 30))
    user = (F.pmod(visit, F.lit(1 << 30)) / F.lit(float(1 << 30))) ** 2 * users
    begin = F.pmod(F.xxhash64(visit), F.lit(days * 86_400 - 1000))
    second = F.unix_date(F.lit(first)) * 86_400 + begin + F.pmod(F.col("id"), F.lit(8)) * 97
    columns = {
        "event_id": F.md5(F.concat_ws(" ", F.lit(str(first)), F.col("id").cast("string"))),
        "event_time": F.timestamp_seconds(second),
        "user_id": F.format_string("user%09d", user.cast("bigint")),
        "item_id": F.format_string("item%06d", (dice**3 * 100_000).cast("bigint")),
        "event_type": F.element_at(F.split(F.lit("view,cart,purchase"), ","), (dice * 3).cast("int") + 1),
        "price": (dice * 100).cast("decimal(18,4)"),
        "quantity": F.lit(1).cast("decimal(18,3)"),
    }  # fmt: skip
    rows = spark.range(events).withColumns(columns).withColumn("event_date", F.to_date("event_time"))
    rows = rows.withColumn("ingest_date", F.col("event_date"))
    missing = {c.name: F.lit(None).cast(c.type) for c in EVENTS.columns if c.name not in rows.columns}
    return rows.withColumns(missing).select(*EVENTS.names)


class Shop:
    """Tables in a folder of their own."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self.spark, self.root = spark, root
        self.settings = overlays.load(assignments=[f"store.root={root}", "source.time_zone=UTC"])

    def bring(self, first: date, days: int, events: int, users: int) -> None:
        # As clean_events lays them out: a file for each two million events of a day.
        bucket = F.pmod(F.xxhash64("user_id"), F.lit(max(1, events // days // 2_000_000)))
        rows = events_of(self.spark, first, days, events, users).repartition("event_date", bucket)
        store = Store(self.spark, self.settings.store)
        store.replace_days(EVENTS, rows, first, first + timedelta(days=days - 1))

    def build(self, first: date, days: int) -> dict[str, float]:
        """The seconds of each job."""
        found = {}
        for job in JOBS:
            began = time.monotonic()
            outcome = execute(job, self.settings, self.spark, first, first + timedelta(days=days - 1))
            assert outcome.exit_code == 0, outcome.reason
            found[job.name] = time.monotonic() - began
        print(self.root.name, {name: round(seconds, 1) for name, seconds in found.items()}, file=sys.stderr)
        return found

    def close(self) -> None:
        shutil.rmtree(self.root)


def measured(spark: SparkSession, folder: Path, sizes: Sequence[int]) -> dict[str, tuple[int, dict[str, float]]]:
    """Of each row of the table, how many events there are, and the seconds of each job."""
    warm = Shop(spark, folder / "warm")
    # With a night, which does what no build of a whole shop does: the JVM has compiled all of it before it is measured.
    for first, days, events in ((FIRST, DAYS, 200_000), (NIGHT, 1, 20_000)):
        warm.bring(first, days, events, 4000)
        warm.build(first, days)
    found = {}
    for events in sizes:
        shop = Shop(spark, folder / str(events))
        shop.bring(FIRST, DAYS, events, events // EVENTS_PER_USER)
        found[f"{events:,} events of {DAYS} days"] = events, shop.build(FIRST, DAYS)
        if events != sizes[-1]:
            shop.close()
    night, users = sizes[0], sizes[-1] // EVENTS_PER_USER
    alone = Shop(spark, folder / "night")
    for each, name in ((alone, "a night, nothing before it"), (shop, "the same night after the largest")):
        each.bring(NIGHT, 1, night, users)
        found[name] = night, each.build(NIGHT, 1)
    return found


def show(found: dict[str, tuple[int, dict[str, float]]]) -> None:
    grid = Grid(title="Events to sessions to sequences, two cores, 8 GB", title_justify="left")
    for column in ("what", *(f"{job.name}, s" for job in JOBS), "µs an event"):
        grid.add_column(column, justify="left" if column == "what" else "right")
    for name, (events, seconds) in found.items():
        each = [f"{seconds[job.name]:.1f}" for job in JOBS]
        grid.add_row(name, *each, f"{sum(seconds.values()) / events * 1e6:.2f}")
    Console(width=110).print(grid)


def main(words: Sequence[str]) -> None:
    sizes = [int(word) for word in words] or [1_000_000, 10_000_000, 100_000_000]
    sizes_of_spark = {"spark.driver.memory": "8g", "spark.sql.shuffle.partitions": str(max(8, sizes[-1] // 500_000))}
    spark = local_session("bench_scaling", sizes_of_spark)
    with tempfile.TemporaryDirectory() as folder:
        show(measured(spark, Path(folder), sizes))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
