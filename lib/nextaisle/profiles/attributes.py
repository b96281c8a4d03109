"""What items were, on the day of an event: their category and brand, joined as of that day (a point-in-time join)."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def with_attributes(events: DataFrame, items: DataFrame, category: str) -> DataFrame:
    """`events` with category and brand as they were on event_date; null where unknown.

    | items: item, valid_from, category |      | event of item on | category |
    |-----------------------------------|      |------------------|----------|
    | a  1970-01-01  tea                |      | a  2024-01-04    | tea      |
    | a  2024-01-05  green tea          |  ->  | a  2024-01-05    | green tea |
    """
    state = F.struct("valid_from", F.col(category).alias("category"), "brand")
    states = items.groupBy("item_id").agg(F.sort_array(F.collect_list(state)).alias("states"))
    held = F.filter("states", lambda each: each["valid_from"] <= F.col("event_date"))
    joined = events.join(states, "item_id", "left").withColumn("held", F.try_element_at(held, F.lit(-1)))
    return joined.withColumns({"category": F.col("held.category"), "brand": F.col("held.brand")}).drop("states", "held")


def first_day_of_changed_attributes(earlier: DataFrame, items: DataFrame, category: str) -> date | None:
    """The first day on which an event can have another category or brand than with the items of an earlier build.

    A state of attributes speaks of no day before it holds, nor of one before the item was first seen. None where
    no state came, went or changed.
    """
    parts = ["item_id", "valid_from", category, "brand"]
    since = F.greatest("valid_from", "first_seen_date").alias("since")
    states, former = (rows.select(*parts, since) for rows in (items, earlier))
    same = [states[name].eqNullSafe(former[name]) for name in parts]
    touched = states.join(former, same, "left_anti").unionByName(former.join(states, same, "left_anti"))
    day: date | None = touched.agg(F.min("since").alias("day")).collect()[0]["day"]
    return day
