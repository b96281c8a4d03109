"""Sessions -> every user's events in order, once for all that evaluation needs of them."""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Evaluation
from nextaisle.contract.tokens import EVENT_TYPES
from nextaisle.evaluation.cases import MIN_TARGETS, days_since_epoch, target_type_indices

# The order of a history: visits of different source sessions may overlap; without such they never do.
_ORDER = ("event_time", "source_session_id", "position")
_KEPT = (
    "user_id", "item_index", "item_hash", "event_type_index", "event_day", "session_hash", "is_session_start",
    "previous_index", "is_training",
)  # fmt: skip


def build_histories(
    sessions: DataFrame, items: DataFrame, evaluation: Evaluation, as_of: date, time_zone: str
) -> DataFrame:
    """One row per event with an item, through the day `as_of`; users whole in a partition, their events in order.

    | user_id | item_index | event_type_index | event_day | is_session_start | previous_index | is_training |
    |---------|------------|------------------|-----------|------------------|----------------|-------------|
    | u       | 7          | 6                | 17524     | true             | null           | true        |
    | u       | 9          | 6                | 17525     | true             | 7              | false       |

    and item_hash, which breaks ties, and session_hash. event_day counts days of the shop since 1970-01-01.
    is_training marks what baselines may learn from: everything before the test. An item that the vocabulary lacks has
    index 0.
    """
    sequence = Window.partitionBy("user_id").orderBy(*_ORDER)
    indexed = _events(sessions, as_of, time_zone).join(
        items.select("item_id", "item_index").distinct(), "item_id", "left"
    )
    return (
        indexed.withColumns({
            "item_index": F.coalesce("item_index", F.lit(0)),
            "item_hash": F.xxhash64("item_id"),
            "place": F.row_number().over(sequence),
        })
        .withColumn("previous_index", F.lag("item_index").over(sequence))
        .withColumn("is_training", _is_training(evaluation, as_of))
        .sortWithinPartitions("user_id", *_ORDER)
        .select(*_KEPT)
    )  # fmt: skip


def _events(sessions: DataFrame, as_of: date, time_zone: str) -> DataFrame:
    zipped = F.arrays_zip("item_ids", "event_types", "event_times")
    with_item = F.filter(zipped, lambda event: event["item_ids"].isNotNull())
    exploded = sessions.where(F.col("session_date") <= F.lit(as_of)).select(
        "user_id", "source_session_id", "session_id", F.posexplode(with_item).alias("position", "event")
    )
    event_types = F.array(*(F.lit(name) for name in EVENT_TYPES))
    day = F.to_date(F.from_utc_timestamp("event.event_times", time_zone))
    return exploded.select(
        "user_id",
        "source_session_id",
        "position",
        F.xxhash64("session_id").alias("session_hash"),
        (F.col("position") == 0).alias("is_session_start"),
        F.col("event.item_ids").alias("item_id"),
        # 0 where it is not there: UNKNOWN_TYPE_INDEX.
        F.array_position(event_types, F.col("event.event_types")).cast("int").alias("event_type_index"),
        F.col("event.event_times").alias("event_time"),
        F.unix_date(day).alias("event_day"),
    ).where(F.col("event_day") <= days_since_epoch(as_of))


def _is_training(evaluation: Evaluation, as_of: date) -> Column:
    if evaluation.protocol == "time":
        return F.col("event_day") <= days_since_epoch(evaluation.cuts(as_of).last_validation)
    user = Window.partitionBy("user_id").rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    is_target = F.col("event_type_index").isin(*target_type_indices(evaluation))
    last_target = F.max(F.when(is_target, F.col("place"))).over(user)
    is_whole = F.count(F.when(is_target, True)).over(user) < MIN_TARGETS
    return is_whole | (F.col("place") < last_target)
