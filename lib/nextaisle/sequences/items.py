"""Events and the catalogue to rows of the table items, the vocabulary: it only grows, and an index never changes."""

from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.contract.tables import ITEMS
from nextaisle.contract.tokens import FIRST_ITEM_INDEX
from nextaisle.sequences.catalogue import ATTRIBUTES

# From when an item's first known attributes hold: always, as far as anybody can tell. Its first event would be another
# day once a late event arrives, and the row another row.
SINCE_EVER: Final = date(1970, 1, 1)


def changed_items(events: DataFrame, catalogue: DataFrame, items: DataFrame, through: date) -> DataFrame:
    """Rows to merge into `items`: of every item in `events`, with its days, and with its attributes where they changed.

    `events` may be those of the last days only. New items are numbered by the day they were first seen, then by id.
    An item whose attributes differ from what held on `through` gets a row from that day on.
    """
    seen = _seen(events)
    known = items.groupBy("item_id").agg(
        F.max("item_index").alias("item_index"),
        F.min("first_seen_date").alias("known_first"),
        F.max("last_seen_date").alias("known_last"),
    )
    days = seen.join(known, "item_id", "full")
    days = days.withColumn("first_seen_date", F.least("first_seen_date", "known_first"))
    days = days.withColumn("last_seen_date", F.greatest("last_seen_date", "known_last"))
    indexed = _with_new_indices(days.drop("known_first", "known_last"), items)
    return _first_rows(indexed, catalogue, items).unionByName(_later_rows(indexed, catalogue, items, through))


def _seen(events: DataFrame) -> DataFrame:
    days = (F.min("event_date").alias("first_seen_date"), F.max("event_date").alias("last_seen_date"))
    return events.where(F.col("item_id").isNotNull()).groupBy("item_id").agg(*days)


def _with_new_indices(days: DataFrame, items: DataFrame) -> DataFrame:
    """Numbers items without an index after the greatest one: within a day by a window, days by a small table."""
    is_new = F.col("item_index").isNull()
    within_day = F.row_number().over(Window.partitionBy(is_new, "first_seen_date").orderBy("item_id"))
    greatest = items.agg(F.max("item_index").alias("index")).collect()[0]["index"] or FIRST_ITEM_INDEX - 1
    before: dict[date, int] = {}
    counts = days.where(is_new).groupBy("first_seen_date").count().orderBy("first_seen_date")
    for row in counts.collect():
        before[row["first_seen_date"]] = greatest
        greatest += row["count"]
    offsets = items.sparkSession.createDataFrame(list(before.items()), "first_seen_date date, index_before int")
    numbered = days.withColumn("place", within_day).join(F.broadcast(offsets), "first_seen_date", "left")
    index = F.coalesce("item_index", (F.col("index_before") + F.col("place")).cast("int"))
    return numbered.withColumn("item_index", index).drop("place", "index_before")


def _first_rows(indexed: DataFrame, catalogue: DataFrame, items: DataFrame) -> DataFrame:
    """Rows that there are, with their days brought up to date, and a first row for each new item."""
    old = items.select("item_id", "valid_from", *ATTRIBUTES)
    kept = indexed.join(old, "item_id")
    new = indexed.join(items.select("item_id"), "item_id", "left_anti")
    first = new.join(catalogue, "item_id", "left").withColumn("valid_from", F.lit(SINCE_EVER))
    return kept.select(*ITEMS.names).unionByName(first.select(*ITEMS.names))


def _later_rows(indexed: DataFrame, catalogue: DataFrame, items: DataFrame, through: date) -> DataFrame:
    held = F.max_by(F.struct(*ATTRIBUTES), "valid_from").alias("held")
    current = items.where(F.col("valid_from") <= F.lit(through)).groupBy("item_id").agg(held)
    changed = indexed.join(current, "item_id").join(catalogue, "item_id").where(~_equal())
    return changed.withColumn("valid_from", F.lit(through)).select(*ITEMS.names)


def _equal() -> Column:
    return F.struct(*ATTRIBUTES).eqNullSafe(F.col("held"))
