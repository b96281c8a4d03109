"""Events and the catalogue to rows of the table items, the vocabulary: it only grows, and an index never changes."""

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.contract.tables import ITEMS
from nextaisle.contract.tokens import FIRST_ITEM_INDEX
from nextaisle.mapped import SINCE_EVER
from nextaisle.sequences.catalogue import ATTRIBUTES
from nextaisle.sequences.states import VALID_FROM, changed_states
from nextaisle.spark import local_rows, staged


def changed_items(events: DataFrame, catalogue: DataFrame, items: DataFrame, through: date) -> DataFrame:
    """Rows to merge into `items`: of every item in `events`, with its days, and with its attributes where they changed.

    `events` may be those of the last days only. New items are numbered by the day they were first seen, then by id.
    Every item has a row since ever, of what was known then, be it nothing. An item whose attributes differ from what
    held on `through` gets a row from that day on; a catalogue with valid_from says the days itself, and what it says
    of days after `through` waits for them.
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
    indexed = staged(_with_new_indices(days.drop("known_first", "known_last"), items), "item_id")
    return _with_attributes(indexed, catalogue, items, through)


def _seen(events: DataFrame) -> DataFrame:
    days = (F.min("event_date").alias("first_seen_date"), F.max("event_date").alias("last_seen_date"))
    return staged(events.where(F.col("item_id").isNotNull()).groupBy("item_id").agg(*days))


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
    offsets = local_rows(items.sparkSession, list(before.items()), "first_seen_date date, index_before int")
    numbered = days.withColumn("place", within_day).join(F.broadcast(offsets), "first_seen_date", "left")
    index = F.coalesce("item_index", (F.col("index_before") + F.col("place")).cast("int"))
    return numbered.withColumn("item_index", index).drop("place", "index_before")


def _with_attributes(indexed: DataFrame, catalogue: DataFrame, items: DataFrame, through: date) -> DataFrame:
    """A row per item and day of its attributes: those that there are, what changed, and one since ever."""
    stored = items.select("item_id", VALID_FROM, *ATTRIBUTES)
    known = catalogue.join(indexed.select("item_id"), "item_id", "left_semi")
    changed = staged(changed_states(known, stored, "item_id", ATTRIBUTES, through), "item_id")
    days = ["item_id", VALID_FROM]
    states = stored.join(changed.select(*days), days, "left_anti").unionByName(changed)
    # Of an item that the catalogue does not know, only that it is.
    since = F.coalesce(VALID_FROM, F.lit(SINCE_EVER))
    return indexed.join(states, "item_id", "left").withColumn(VALID_FROM, since).select(*ITEMS.names)
