"""Events to sessions, Delta write included: ours beside the textbook's window functions, on the same file in one run.

PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_sessions.py [events, 3000000] [users, 60000]
"""

import sys
import tempfile
import time
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from nextaisle.config import Sessions, Store
from nextaisle.contract.tables import SESSIONS
from nextaisle.sessions.rebuilding import sessions_of
from nextaisle.spark import create_session
from nextaisle.store import Store as Tables

RULES = Sessions(gap_minutes=30, max_hours=24)
DAYS = 10


def write_events(spark: SparkSession, path: str, events: int, users: int) -> None:
    """Users with a long tail, in bursts of about eight events."""
    share = (F.pmod(F.xxhash64("id"), F.lit(1 << 30)) / F.lit(float(1 << 30))).alias("share")
    burst = F.xxhash64((F.col("id") / 8).cast("bigint"))
    rows = spark.range(events).select("id", share, burst.alias("burst"))
    user = (F.pmod(F.col("burst"), F.lit(1 << 30)) / F.lit(float(1 << 30))) ** 2 * users
    start = F.pmod(F.xxhash64("burst"), F.lit(DAYS * 86_400))
    second = start + F.pmod(F.col("id"), F.lit(8)) * 97 + F.lit(1_704_067_200)
    columns = {
        "event_id": F.md5(F.col("id").cast("string")),
        "event_time": F.timestamp_seconds(second),
        "user_id": F.format_string("user%09d", user.cast("bigint")),
        "item_id": F.format_string("item%06d", (F.col("share") ** 3 * 100_000).cast("bigint")),
        "event_type": F.element_at(F.split(F.lit("view,cart,purchase"), ","), (F.col("share") * 3).cast("int") + 1),
        "price": (F.col("share") * 100).cast("decimal(18,4)"),
        "quantity": F.lit(1).cast("decimal(18,3)"),
        "source_session_id": F.lit(None).cast("string"),
    }
    rows.withColumns(columns).select(list(columns)).write.parquet(path)


def textbook(events: DataFrame) -> DataFrame:
    """lag, running sum, groupBy, collect_list, array_sort; without max_hours, which windows cannot express."""
    trail = Window.partitionBy("user_id", "source_session_id").orderBy("event_time", "event_id")
    gap = F.col("event_time") - F.lag("event_time").over(trail) > F.expr(f"interval {RULES.gap_minutes} minutes")
    marked = events.withColumn("is_start", F.coalesce(gap, F.lit(True)).cast("int"))
    running = trail.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    numbered = marked.withColumn("place", F.sum("is_start").over(running))
    event = F.struct("event_time", "event_id", "item_id", "event_type", "price", "quantity")
    grouped = numbered.groupBy("user_id", "source_session_id", "place").agg(
        F.array_sort(F.collect_list(event)).alias("events")
    )
    start = F.col("events")[0]["event_time"]
    columns = {
        "session_id": F.left(F.sha2(F.concat_ws(" ", "user_id", start.cast("string")), 256), F.lit(32)),
        "session_date": F.to_date(start),
        "start_time": start,
        "end_time": F.element_at("events", -1)["event_time"],
        "event_count": F.size("events"),
        "item_ids": F.col("events.item_id"),
        "event_types": F.col("events.event_type"),
        "event_times": F.col("events.event_time"),
        "prices": F.col("events.price"),
        "quantities": F.col("events.quantity"),
    }
    return grouped.withColumns(columns).select(*SESSIONS.names)


def main() -> None:
    events, users = (int(word) for word in (*sys.argv[1:], "3000000", "60000")[:2])
    options = {"spark.driver.memory": "2g", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8",
               "spark.databricks.delta.snapshotPartitions": "2", "spark.ui.showConsoleProgress": "false"}  # fmt: skip
    spark = create_session("bench_sessions", "local[2]", options)
    ways: dict[str, Callable[[DataFrame], DataFrame]] = {
        "textbook": textbook,
        "ours": lambda rows: sessions_of(rows, RULES, "UTC"),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_events(spark, f"{folder}/events", events, users)
        best: dict[str, float] = {}
        for round_number in range(2):
            for name, way in ways.items():
                store = Tables(spark, Store(root=f"{folder}/{name}{round_number}", database=""))
                began = time.monotonic()
                store.replace(SESSIONS, way(spark.read.parquet(f"{folder}/events")), "session_date IS NOT NULL")
                best[name] = min(best.get(name, 1e9), time.monotonic() - began)
        for name, seconds in best.items():
            print(f"{name:10} {seconds:7.1f} s {events / seconds / 1000:8.0f} k events/s")
        print(f"ours is {best['textbook'] / best['ours']:.2f} times as fast on {events:,} events, {users:,} users")
    spark.stop()


if __name__ == "__main__":
    main()
