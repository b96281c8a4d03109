"""Whom to score, on which history, and what each of them is not shown."""

from datetime import date, timedelta
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Exclude = Literal["none", "seen", "bought"]
BOUGHT = "purchase"


def with_earlier_items(
    histories: DataFrame, sessions: DataFrame, items: DataFrame, exclude: Exclude, day: date, time_zone: str
) -> DataFrame:
    """Adds `earlier_indices`: items to leave out that a user's sequence may have lost, as it holds the latest alone.

    Only for users with more events than their sequence holds are sessions taken apart.

    | exclude | sequence holds  | earlier_indices                            |
    |---------|-----------------|--------------------------------------------|
    | none    |                 | null                                       |
    | seen    | all events      | null                                       |
    | seen    | the latest ones | every item ever, through `day`             |
    | bought  | the latest ones | every item ever bought, through `day`      |
    """
    if exclude == "none":
        return histories.withColumn("earlier_indices", F.lit(None).cast("array<int>"))
    capped = histories.where(F.col("event_count") > F.size("item_indices")).select("user_id")
    seen = (
        sessions.where(F.col("session_date") <= F.lit(day))
        .join(capped, "user_id", "left_semi")
        .select("user_id", F.explode(_item_ids(exclude, day, time_zone)).alias("item_id"))
        .join(items.select("item_id", "item_index").distinct(), "item_id")
        .groupBy("user_id")
        .agg(F.collect_set("item_index").alias("earlier_indices"))
    )
    return histories.join(seen, "user_id", "left")


def _item_ids(exclude: Exclude, day: date, time_zone: str) -> Column:
    """A session's distinct items through the end of `day`; of those bought, where only they are left out."""
    end = F.to_utc_timestamp(F.lit(day + timedelta(days=1)).cast("timestamp"), time_zone)

    def counts(event: Column) -> Column:
        is_in_time = event["event_times"] < end
        return is_in_time & (event["event_types"] == BOUGHT) if exclude == "bought" else is_in_time

    return F.array_distinct(F.filter(F.arrays_zip("item_ids", "event_types", "event_times"), counts)["item_ids"])
