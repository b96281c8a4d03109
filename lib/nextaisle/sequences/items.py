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


def rebuild_items(events: DataFrame, catalogue: DataFrame, items: DataFrame, through: date) -> DataFrame:
    """All rows of `items`, and of every item in `events`: with its days, and with its attributes where they changed.

    `events` may be those of the last days only. New items are numbered by the day they were first seen, then by id.
    Every item has a row since ever, of what was known then, be it nothing. An item whose attributes differ from what
    held on `through` gets a row from that day on; a catalogue with valid_from says the days itself, and what it says
    of days after `through` waits for them.
    """
    return _with_attributes(_with_new_indices(staged(_days(events, items))), catalogue, items, through)


def _days(events: DataFrame, items: DataFrame) -> DataFrame:
    """(item_id, item_index, first and last day seen) of every item; a new one has no index."""
    day, no_index = F.col("event_date"), F.lit(None).cast("int")
    columns = {"item_index": no_index, "first_seen_date": day, "last_seen_date": day}
    seen = events.where(F.col("item_id").isNotNull()).withColumns(columns).select("item_id", *columns)
    days = (F.min("first_seen_date").alias("first_seen_date"), F.max("last_seen_date").alias("last_seen_date"))
    rows = seen.unionByName(items.select("item_id", *columns))
    return rows.groupBy("item_id").agg(F.max("item_index").alias("item_index"), *days)


def _with_new_indices(days: DataFrame) -> DataFrame:
    """Numbers items without an index after the greatest one: within a day by a window, days by a small table."""
    is_new = F.col("item_index").isNull()
    by_day = days.groupBy(F.when(is_new, F.col("first_seen_date")).alias("day"))
    counts = by_day.agg(F.count("*").alias("count"), F.max("item_index").alias("greatest")).collect()
    greatest = next((row["greatest"] for row in counts if row["day"] is None), FIRST_ITEM_INDEX - 1)
    before: dict[date, int] = {}
    for row in sorted((row for row in counts if row["day"]), key=lambda row: row["day"]):
        before[row["day"]] = greatest
        greatest += row["count"]
    if not before:
        return days
    offsets = local_rows(days.sparkSession, list(before.items()), "first_seen_date date, index_before int")
    within_day = F.row_number().over(Window.partitionBy("first_seen_date").orderBy("item_id"))
    numbered = days.where(is_new).withColumn("place", within_day).join(F.broadcast(offsets), "first_seen_date")
    numbered = numbered.withColumn("item_index", (F.col("index_before") + F.col("place")).cast("int"))
    return staged(days.where(~is_new).unionByName(numbered.select(*days.columns)), "item_id")


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
