"""Events to sessions to sequences, Delta writes included: ours beside the textbook's Spark, Polars, and a bare scan.

PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_chain.py [events, 10000000] [users, 200000] [memory, 8g]

All read the same Parquet file, and all but the scan write the same rows of the same two tables, which is checked.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from nextaisle import overlays
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, ITEMS, SEQUENCES, SESSIONS, Table
from nextaisle.sequences import SEED, read_catalogue, read_lookup, rebuild_items, rebuild_sequences, rows_by_user
from nextaisle.sessions.rebuilding import rebuild_sessions
from nextaisle.storage.store import Store
from tests.benchmarks.session import local_session

DAYS = 10
FIRST = date(2024, 1, 1)
ROUNDS = 2
_MONEY = "decimal(18,4)"


def write_events(spark: SparkSession, path: str, events: int, users: int) -> None:
    """Users with a long tail, in bursts of about eight events; nobody goes on for max_hours without a pause."""
    share = (F.pmod(F.xxhash64("id"), F.lit(1 << 30)) / F.lit(float(1 << 30))).alias("share")
    burst = F.xxhash64((F.col("id") / 8).cast("bigint"))
    rows = spark.range(events).select("id", share, burst.alias("burst"))
    user = (F.pmod(F.col("burst"), F.lit(1 << 30)) / F.lit(float(1 << 30))) ** 1.5 * users
    start = F.pmod(F.xxhash64("burst"), F.lit(DAYS * 86_400))
    second = start + F.pmod(F.col("id"), F.lit(8)) * 97 + F.lit(1_704_067_200)
    columns = {
        "event_id": F.md5(F.col("id").cast("string")),
        "event_time": F.timestamp_seconds(second),
        "user_id": F.format_string("user%09d", user.cast("bigint")),
        "item_id": F.format_string("item%06d", (F.col("share") ** 3 * 100_000).cast("bigint")),
        "event_type": F.element_at(F.split(F.lit("view,cart,purchase"), ","), (F.col("share") * 3).cast("int") + 1),
        "price": (F.col("share") * 100).cast(_MONEY),
        "quantity": F.lit(1).cast("decimal(18,3)"),
        "source_session_id": F.lit(None).cast("string"),
    }
    events_only = rows.withColumns(columns).withColumn("event_date", F.to_date("event_time"))
    filled = {column.name: F.lit(None).cast(column.type) for column in EVENTS.columns}
    missing = {name: column for name, column in filled.items() if name not in events_only.columns}
    events_only.withColumns(missing).select(*EVENTS.names).write.parquet(path)


@dataclass(frozen=True)
class Shop:
    """What every way starts from."""

    spark: SparkSession
    settings: Settings
    events_path: str
    items: DataFrame

    @property
    def events(self) -> DataFrame:
        return self.spark.read.schema(EVENTS.schema).parquet(self.events_path)

    def store(self, folder: Path) -> Store:
        return Store(self.spark, self.settings.store.model_copy(update={"root": str(folder)}))


def ours(shop: Shop, folder: Path) -> None:
    """What build_sessions and build_sequences do on the first night, the vocabulary apart."""
    store, settings = shop.store(folder), shop.settings
    nothing = shop.spark.createDataFrame([], SESSIONS.schema)
    built = rebuild_sessions(shop.events, nothing, EVERYTHING, settings.sessions, "UTC")
    store.replace(SESSIONS, built.made, built.where)
    no_seeds = store.latest_rows(SEQUENCES, SEED, shop.events.select("user_id"), EVERYTHING)
    by_user = rows_by_user(store.read(SESSIONS), no_seeds)
    rows = rebuild_sequences(by_user, read_lookup(shop.items), EVERYTHING, date(2023, 12, 31), settings)
    store.replace(SEQUENCES, rows, "as_of_date IS NOT NULL")


def textbook(shop: Shop, folder: Path) -> None:
    """lag, running sum, groupBy, collect_list, array_sort; without max_hours, which windows cannot express."""
    store = shop.store(folder)
    store.replace(SESSIONS, _textbook_sessions(shop), "session_date IS NOT NULL")
    store.replace(SEQUENCES, _textbook_sequences(shop, store.read(SESSIONS)), "as_of_date IS NOT NULL")


def _textbook_sessions(shop: Shop) -> DataFrame:
    trail = Window.partitionBy("user_id", "source_session_id").orderBy("event_time", "event_id")
    pause = F.col("event_time") - F.lag("event_time").over(trail)
    gap = pause > F.expr(f"interval {shop.settings.sessions.gap_minutes} minutes")
    marked = shop.events.withColumn("is_start", F.coalesce(gap, F.lit(True)).cast("int"))
    running = trail.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    numbered = marked.withColumn("place", F.sum("is_start").over(running))
    event = F.struct("event_time", "event_id", "item_id", "event_type", "price", "quantity")
    grouped = numbered.groupBy("user_id", "source_session_id", "place").agg(
        F.array_sort(F.collect_list(event)).alias("events")
    )
    start = F.col("events")[0]["event_time"]
    id_parts = (F.length("user_id"), F.col("user_id"), F.unix_micros(start), F.lit("none"))
    columns = {
        "session_id": F.left(F.sha2(F.concat_ws(" ", *(part.cast("string") for part in id_parts)), 256), F.lit(32)),
        "session_date": F.to_date(start),
        "start_time": start,
        "end_time": F.element_at("events", -1)["event_time"],
        "event_count": F.size("events"),
        "item_ids": F.col("events.item_id"),
        "event_types": F.col("events.event_type"),
        "event_times": F.col("events.event_time"),
        "prices": F.col("events.price"),
        "quantities": F.col("events.quantity"),
        "counts": F.transform("events", lambda _: F.lit(1)),
    }
    return grouped.withColumns(columns).select(*SESSIONS.names)


def _textbook_sequences(shop: Shop, sessions: DataFrame) -> DataFrame:
    """Events of the sessions with their items' indices, collected by user, and cut for each day of the user."""
    zipped = F.arrays_zip("event_times", "item_ids", "event_types", "prices")
    events = sessions.select("user_id", "start_time", F.posexplode(zipped).alias("place", "event"))
    indexed = events.join(
        F.broadcast(shop.items.select(F.col("item_id").alias("event.item_ids"), "item_index")),
        F.col("event.item_ids") == F.col("`event.item_ids`"),
    )
    event = F.struct(
        F.col("event.event_times").alias("time"), "start_time", "place", F.col("event.item_ids").alias("item_id"),
        "item_index", F.col("event.event_types").alias("event_type"), F.col("event.prices").alias("price"),
    )  # fmt: skip
    by_user = indexed.groupBy("user_id").agg(F.array_sort(F.collect_list(event)).alias("events"))
    days = F.array_distinct(F.transform("events", lambda one: F.to_date(one["time"])))
    dated = by_user.select("user_id", "events", F.explode(days).alias("as_of_date"))
    known = F.filter("events", lambda one: F.to_date(one["time"]) <= F.col("as_of_date"))
    cap = shop.settings.sequences.max_events
    cut = dated.withColumn("known", known).withColumn(
        "latest", F.slice("known", F.greatest(F.size("known") - cap, F.lit(0)) + 1, cap)
    )
    return cut.select(
        "user_id", "as_of_date", F.size("known").cast("bigint").alias("event_count"),
        F.col("latest.item_id").alias("item_ids"), F.col("latest.item_index").alias("item_indices"),
        F.col("latest.event_type").alias("event_types"), F.col("latest.time").alias("event_times"),
        F.col("latest.price").alias("prices"),
        F.transform("latest", lambda one: one["place"] == 0).alias("is_session_start"),
    )  # fmt: skip


def polars(shop: Shop, folder: Path) -> None:
    """The same in Polars, in memory, two threads; written as Parquet."""
    gap = pl.duration(minutes=shop.settings.sessions.gap_minutes)
    events = pl.scan_parquet(f"{shop.events_path}/*.parquet").select(
        "user_id", "event_time", "event_id", "item_id", "event_type", "price", "quantity"
    )
    ordered = events.sort("user_id", "event_time", "event_id").drop("event_id").with_columns(
        (pl.col("event_time").diff() > gap).fill_null(value=True).or_(pl.col("user_id") != pl.col("user_id").shift(1))
        .fill_null(value=True).alias("is_start")
    )  # fmt: skip
    marked = ordered.with_columns(pl.col("is_start").cum_sum().alias("session")).collect()
    sessions = marked.group_by("session", maintain_order=True).agg(
        pl.col("user_id").first(), pl.col("event_time").first().alias("start_time"),
        pl.col("event_time").last().alias("end_time"), pl.len().alias("event_count"),
        pl.col("item_id", "event_type", "price", "quantity"), pl.col("event_time").alias("event_times"),
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    sessions.write_parquet(folder / "sessions.parquet", compression="snappy")
    items = pl.from_arrow(shop.items.select("item_id", "item_index").toArrow())
    assert isinstance(items, pl.DataFrame)
    known = marked.join(items, on="item_id", maintain_order="left").with_columns(
        pl.col("event_time").dt.date().alias("day"), pl.int_range(pl.len()).over("user_id").alias("place"),
    )  # fmt: skip
    cap = shop.settings.sequences.max_events
    ends = known.group_by("user_id", "day", maintain_order=True).agg(pl.col("place").last().alias("end"))
    columns = ["item_id", "item_index", "event_type", "event_time", "price", "is_start"]
    by_user = known.group_by("user_id", maintain_order=True).agg(*columns)
    first = pl.max_horizontal(pl.col("end") + 1 - cap, 0)
    cut = [pl.col(name).list.slice(first, pl.col("end") + 1 - first) for name in columns]
    rows = ends.join(by_user, on="user_id", maintain_order="left")
    rows.lazy().select("user_id", "day", (pl.col("end") + 1).alias("event_count"), *cut).sink_parquet(
        folder / "sequences.parquet", compression="snappy"
    )


def scan(shop: Shop, _: Path) -> None:
    """The columns that sessions need, read and thrown away."""
    shop.events.select("user_id", "source_session_id", "event_time", "event_id", "item_id", "event_type", "price",
                       "quantity").write.format("noop").mode("overwrite").save()  # fmt: skip


def check_same(shop: Shop, mine: Path, theirs: Path) -> None:
    for table in (SESSIONS, SEQUENCES):
        totals = [_total(shop.store(folder), table) for folder in (mine, theirs)]
        assert totals[0] == totals[1], f"{table.name}: {totals}"


def _total(store: Store, table: Table) -> tuple[int, int]:
    row = store.read(table).agg(F.count("*"), F.sum(F.xxhash64(*table.names).cast("decimal(38,0)"))).collect()[0]
    return row[0], row[1]


def main() -> None:
    words = [*sys.argv[1:], *("10000000", "200000", "8g")[len(sys.argv) - 1 :]]
    events, users, memory = int(words[0]), int(words[1]), words[2]
    partitions = str(max(8, events // 500_000))
    spark = local_session("bench_chain", {"spark.driver.memory": memory, "spark.sql.shuffle.partitions": partitions})
    settings = overlays.load()
    ways: dict[str, Callable[[Shop, Path], None]] = {
        "scan": scan, "ours": ours, "textbook": textbook, "polars": polars,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_events(spark, f"{folder}/events", events, users)
        rows = spark.read.schema(EVENTS.schema).parquet(f"{folder}/events")
        none = spark.createDataFrame([], ITEMS.schema)
        items = rebuild_items(rows, read_catalogue(spark, settings.items, "UTC"), none, FIRST, FIRST)
        shop = Shop(spark, settings, f"{folder}/events", items.localCheckpoint())
        best: dict[str, float] = {}
        for number in range(ROUNDS):
            for name, way in ways.items():
                place = Path(folder) / f"{name}"
                shutil.rmtree(place, ignore_errors=True)
                began = time.monotonic()
                way(shop, place)
                best[name] = min(best.get(name, 1e9), time.monotonic() - began)
                print(f"round {number}: {name} {time.monotonic() - began:.1f} s", file=sys.stderr)
        check_same(shop, Path(folder) / "ours", Path(folder) / "textbook")
        show(best, events, users)
    spark.stop()


def show(best: dict[str, float], events: int, users: int) -> None:
    grid = Grid(
        title=f"{events:,} events of {users:,} users, two cores: the best of {ROUNDS} rounds", title_justify="left"
    )
    for column in ("way", "seconds", "k events/s/core", "times textbook"):
        grid.add_column(column, justify="left" if column == "way" else "right")
    for name, seconds in best.items():
        grid.add_row(name, f"{seconds:.1f}", f"{events / seconds / 2000:.0f}", f"{best['textbook'] / seconds:.2f}")
    Console(width=100).print(grid)


if __name__ == "__main__":
    main()
