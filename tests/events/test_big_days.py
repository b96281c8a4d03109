"""One user's day of millions of events, which no task may hold in memory."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nextaisle import overlays
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from nextaisle.storage.store import Store
from tests.faults.killing import seconds_of

COUNT = 3_000_000
MIDNIGHT_MICROS = 1_704_067_200_000_000


def write_day(spark: SparkSession, logs: Path, day: date, of: str) -> None:
    """The bot's events of 2024-01-01 whose number is even, or odd, and one shopper's event of `day`."""
    number = F.col("id")
    time = F.timestamp_micros(F.lit(MIDNIGHT_MICROS) + number * (86_400_000_000 // COUNT))
    bot = spark.range(COUNT).where(number % 2 == int(of == "odd")).select(
        F.lit("bot").alias("user"), F.concat(F.lit("item"), number % 1000).alias("item"), time.alias("time")
    )  # fmt: skip
    shopper = spark.createDataFrame([("shopper", "item1", str(day))], "user string, item string, day string")
    shopper = shopper.select("user", "item", F.col("day").cast("timestamp").alias("time"))
    lines = bot.unionByName(shopper).select(
        F.to_json(F.struct("*"), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"})
    )
    lines.write.text(f"{logs}/{day}", compression="gzip")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_millions_of_events_of_one_user_on_a_day_pass_through_a_gigabyte(spark: SparkSession, tmp_path: Path) -> None:
    """Half of them are stored as events first; the other half, a day late, shows that they are a bot's.

    The JVM has 1 GB for the driver and two tasks. Records have no ids, so that all of it is sorted too.
    """
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    sets = {
        "store.root": f"{tmp_path}/tables", "source.path": f"{tmp_path}/logs/{{date}}/*.gz",
        "source.schema": "user string, item string, time string", "source.columns.user_id": "user",
        "source.columns.item_id": "item", "source.columns.event_time": "time",
        "source.columns.event_type": "\"'view'\"",  # TOML's quotes around SQL's
        "bots.events_per_minute": 0, "bots.items_per_minute": 0, "bots.hours_without_pause": 0,
        "bots.events_per_day": COUNT - 1, "events.max_per_user_day": COUNT // 3,
    }  # fmt: skip
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    store = Store(spark, overlays.load(assignments=words[1::2]).store)
    for day, of in zip(days, ("even", "odd"), strict=True):
        write_day(spark, tmp_path / "logs", day, of)
        seconds_of("clean_events", ["--date", str(day), "--set", "events.max_rejected_share=1.0", *words])
        if of == "even":
            capped = store.fresh().read(REJECTED_EVENTS).groupBy("reason").count().collect()
            assert [tuple(row) for row in capped] == [("over_the_cap", COUNT // 2 - COUNT // 3)]
    rejected = store.fresh().read(REJECTED_EVENTS).groupBy("reason", "rule", "ingest_date").count().collect()
    assert sorted(tuple(row) for row in rejected) == [("bot", "events_per_day", day, COUNT // 2) for day in days]
    assert [row.user_id for row in store.fresh().read(EVENTS).collect()] == ["shopper", "shopper"]
