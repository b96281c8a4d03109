"""What is wrong with real logs, on request and counted: each kind comes on top of the shoppers' clean events.

| kind            | is                                                                | ends as          |
|-----------------|-------------------------------------------------------------------|------------------|
| event           | a shopper's event in its own day's folder                         | event            |
| late            | one that lies in the folder of one of the next three days         | event            |
| bot             | one of a user with 5,000 views a day                              | rejected         |
| duplicate       | a record again, in the same folder as before or in the next day's | duplicate        |
| broken          | a record cut off, or bytes that are no text                       | rejected         |
| impossible_time | an event of 1970 or of 2199, with an id of its own                | rejected         |

Nothing is later than the last day of the logs. Which events are struck is a hash of their id.
"""

from datetime import date, timedelta
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Synthetic
from nextaisle.synthetic.events import RECORD, shopper_records

KINDS: Final = ("event", "late", "bot", "duplicate", "broken", "impossible_time")
BOT_EVENTS_PER_DAY: Final = 5000
_LATEST_DAYS: Final = 3
_BITS: Final = 1 << 53


def record_counts(spark: SparkSession, shoppers: Synthetic) -> dict[str, int]:
    """Records of each kind in the logs: `{"event": 84321, "late": 803, "bot": 0, ...}`."""
    counted = log_records(spark, shoppers).groupBy("kind").count().collect()
    return dict.fromkeys(KINDS, 0) | {row["kind"]: row["count"] for row in counted}


def log_records(spark: SparkSession, shoppers: Synthetic) -> DataFrame:
    """Every record of the logs: kind, log_date, event_time, event_id, and line, the bytes as written."""
    events = shopper_records(spark, shoppers)
    kinds = F.array_compact(F.array(*_kinds_of_record(shoppers)))
    struck = events.withColumn("kind", F.explode(kinds)).withColumn("log_date", _log_date(shoppers))
    return struck.unionByName(bot_records(spark, shoppers)).select(
        "kind", "log_date", "event_time", "event_id", _line().alias("line")
    )


def bot_records(spark: SparkSession, shoppers: Synthetic) -> DataFrame:
    """Views of any item at any hour, one every 17 seconds."""
    number = F.col("id")
    nth = F.pmod(number, F.lit(BOT_EVENTS_PER_DAY))
    day = F.pmod(F.floor(number / BOT_EVENTS_PER_DAY), F.lit(shoppers.days)).cast("int")
    bot = F.concat(F.lit("bot_"), F.floor(number / (BOT_EVENTS_PER_DAY * shoppers.days)).cast("string"))
    log_date = F.date_add(F.lit(shoppers.first_date), day)
    seconds = F.unix_timestamp(log_date.cast("timestamp")) + F.floor(nth * (86_400 / BOT_EVENTS_PER_DAY))
    item = F.format_string("item_%06d", F.pmod(F.xxhash64(number, F.lit(shoppers.seed)), F.lit(shoppers.items)))
    known = {
        "event_id": F.concat(F.lit("bot-"), number.cast("string")),
        "session_id": F.concat_ws("-", bot, day.cast("string")),
        "user_id": bot,
        "item_id": item,
        "event_type": F.lit("view"),
        "event_time": F.timestamp_seconds(seconds),
    }
    columns = [known.get(name, F.lit(None)).cast(kind).alias(name) for name, kind in RECORD.items()]
    views = spark.range(0, shoppers.bots * shoppers.days * BOT_EVENTS_PER_DAY)
    return views.select(*columns, F.lit("bot").alias("kind"), log_date.alias("log_date"))


def _kinds_of_record(shoppers: Synthetic) -> list[Column]:
    """One record or several for an event: the kinds; null where the event is spared."""
    is_late = _is_struck("late", shoppers.late_share, shoppers) & (F.to_date("event_time") < F.lit(_last_day(shoppers)))
    added = {
        "duplicate": shoppers.duplicate_share,
        "broken": shoppers.broken_share,
        "impossible_time": shoppers.impossible_time_share,
    }
    original = F.when(is_late, "late").otherwise("event")
    return [original, *(F.when(_is_struck(kind, share, shoppers), kind) for kind, share in added.items())]


def _is_struck(kind: str, share: float, shoppers: Synthetic) -> Column:
    return _hashed(kind, shoppers, _BITS) < F.lit(int(share * _BITS))


def _log_date(shoppers: Synthetic) -> Column:
    """The day whose folder holds the record."""
    days_late = F.when(
        _is_struck("late", shoppers.late_share, shoppers), 1 + _hashed("days", shoppers, _LATEST_DAYS)
    ).otherwise(0)
    is_late, is_again = F.col("kind") == "late", F.col("kind") == "duplicate"
    delay = F.when(is_late, days_late).when(is_again, days_late + _hashed("again", shoppers, 2)).otherwise(0)
    return F.least(F.date_add(F.to_date("event_time"), delay.cast("int")), F.lit(_last_day(shoppers)))


def _line() -> Column:
    """JSON, or what is left of it."""
    is_early = F.pmod(F.xxhash64("event_id"), F.lit(2)) == 0
    impossible_time = F.when(is_early, "1970-01-01T00:00:01Z").otherwise("2199-12-31T00:00:00Z")
    time = F.date_format("event_time", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
    good = _json(F.col("event_id"), time)
    # 0xC3 promises a second byte of UTF-8 that does not follow.
    noise = F.concat(F.unhex(F.lit("FFC328")), F.md5("event_id").cast("binary")).cast("string")
    cut = F.substring(good, 1, 40)
    return (
        F.when(F.col("kind") == "broken", F.when(is_early, noise).otherwise(cut))
        .when(F.col("kind") == "impossible_time", _json(F.concat("event_id", F.lit("-never")), impossible_time))
        .otherwise(good)
    )


def _json(event_id: Column, time: Column) -> Column:
    changed = {"event_id": event_id, "event_time": time}
    return F.to_json(F.struct(*(changed.get(name, F.col(name)).alias(name) for name in RECORD)))


def _hashed(purpose: str, shoppers: Synthetic, below: int) -> Column:
    return F.pmod(F.xxhash64(F.col("event_id"), F.lit(purpose), F.lit(shoppers.seed)), F.lit(below))


def _last_day(shoppers: Synthetic) -> date:
    return shoppers.first_date + timedelta(days=shoppers.days - 1)
