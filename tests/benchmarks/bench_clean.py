"""clean_events from gzipped JSON lines, beside Spark's own reader and writer on the same files.

PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_clean.py [events, 2000000] [files, 8] [memory, 4g]
"""

import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from jobs import clean_events
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.benchmarks.session import local_session

DAY = date(2024, 1, 1)
ROUNDS = 2
SCHEMA = "user string, session string, item string, kind string, time timestamp, price decimal(18,4), pieces int"
COLUMNS = {
    "user_id": "user", "session_id": "session", "item_id": "item", "event_type": "kind", "event_time": "time",
    "price": "price", "quantity": "pieces",
}  # fmt: skip


def write_logs(spark: SparkSession, folder: str, events: int, files: int) -> None:
    """A day of a shop: bursts of eight events, a fiftieth of the items in half of them."""
    share = (F.pmod(F.xxhash64("id"), F.lit(1 << 30)) / F.lit(float(1 << 30))).alias("share")
    rows = spark.range(0, events, 1, files).select("id", share, (F.col("id") / 8).cast("bigint").alias("burst"))
    second = F.pmod(F.xxhash64("burst"), F.lit(85_000)) + F.pmod(F.col("id"), F.lit(8)) * 97 + F.lit(1_704_067_200)
    columns = {
        "user": F.format_string("user%09d", F.pmod(F.xxhash64("burst"), F.lit(max(1, events // 20)))),
        "session": F.format_string("session%010d", "burst"),
        "item": F.format_string("item%06d", (F.col("share") ** 3 * 100_000).cast("bigint")),
        "kind": F.element_at(F.split(F.lit("view,cart,purchase"), ","), (F.col("share") * 3).cast("int") + 1),
        "time": F.timestamp_seconds(F.least(second, F.lit(1_704_067_200 + 86_399))),
        "price": (F.col("share") * 100).cast("decimal(18,4)"),
        "pieces": F.lit(1),
    }
    lines = rows.select(*(column.alias(name) for name, column in columns.items()))
    lines.write.option("compression", "gzip").json(f"{folder}/{DAY}")


def settings_of(logs: str, tables: str) -> Settings:
    sets = {"source.path": f"{logs}/{{date}}/*.gz", "source.schema": SCHEMA, "store.root": tables}
    sets |= {f"source.columns.{name}": text for name, text in COLUMNS.items()}
    return overlays.load(assignments=[f"{key}={value}" for key, value in sets.items()])


def ours(spark: SparkSession, logs: str, tables: str) -> None:
    outcome = execute(clean_events.JOB, settings_of(logs, tables), spark, DAY, DAY)
    assert outcome.exit_code == 0, outcome.reason


def spark_alone(spark: SparkSession, logs: str, tables: str) -> None:
    """No ids, no reasons, nothing dropped twice, nothing counted."""
    spark.read.schema(SCHEMA).json(f"{logs}/{DAY}").write.format("delta").save(f"{tables}/events")


def main() -> None:
    words = [*sys.argv[1:], *("2000000", "8", "4g")[len(sys.argv) - 1 :]]
    events, files, memory = int(words[0]), int(words[1]), words[2]
    spark = local_session("bench_clean", {"spark.driver.memory": memory})
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        logs, tables = f"{folder}/logs", f"{folder}/tables"
        write_logs(spark, logs, events, files)
        for _ in range(ROUNDS):
            for way in (spark_alone, ours):
                shutil.rmtree(tables, ignore_errors=True)
                began = time.monotonic()
                way(spark, logs, tables)
                best[way.__name__] = min(best.get(way.__name__, 1e9), time.monotonic() - began)
                print(f"{way.__name__} {time.monotonic() - began:.1f} s", file=sys.stderr)
        assert Store(spark, settings_of(logs, tables).store).read(EVENTS).count() == events
        size = sum(path.stat().st_size for path in Path(logs).rglob("*.gz"))
    show(best, events, size)
    spark.stop()


def show(best: dict[str, float], events: int, size: int) -> None:
    title = f"{events:,} events, {size / 1e6:.0f} MB of gzipped JSON lines, two cores: the best of {ROUNDS} rounds"
    grid = Grid(title=title, title_justify="left")
    for column in ("way", "seconds", "k events/s/core", "of Spark's"):
        grid.add_column(column, justify="left" if column == "way" else "right")
    for name, seconds in best.items():
        rate, share = events / seconds / 2000, best["spark_alone"] / seconds
        grid.add_row(name, f"{seconds:.1f}", f"{rate:.0f}", f"{share:.2f}")
    Console(width=100).print(grid)


if __name__ == "__main__":
    main()
