"""Events and the catalogue to rows of the table items, the vocabulary: it only grows, and an index never changes."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from nextaisle.contract.tables import ITEMS
from nextaisle.contract.tokens import FIRST_ITEM_INDEX
from nextaisle.mapped import SINCE_EVER
from nextaisle.sequences.catalogue import ATTRIBUTES
from nextaisle.sequences.states import VALID_FROM, changed_states
from nextaisle.spark import local_rows, staged

# The days of an item that no event has any more: it keeps its index, and no day has seen it, until an event has it.
NEVER: Final = date(9999, 12, 31)
_DAYS: Final = ("first_seen_date", "last_seen_date")


def rebuild_items(events: DataFrame, catalogue: DataFrame, items: DataFrame, first: date, through: date) -> DataFrame:
    """All rows of `items`, and of every item in `events`: with its days, and with its attributes where they changed.

    `events` are those that `items` was built of but for the days from `first` on; earlier ones are read only where an
    item has lost its latest. New items are numbered by the day they were first seen, then by id. Every item has a row
    since ever, of what was known then, be it nothing. An item whose attributes differ from what held on `through` gets
    a row from that day on; a catalogue with valid_from says the days itself, and what it says of days after `through`
    waits for them.
    """
    day = F.col("event_date")
    days = staged(_days(events.where(day >= F.lit(first)), items, first))
    counts = _counts(days)
    if any(row["lost"] for row in counts):
        days = staged(_looked_up(days, events.where(day < F.lit(first))))
    return _with_attributes(_with_new_indices(_or_never(days), counts), catalogue, items, through)


def _days(events: DataFrame, items: DataFrame, first: date) -> DataFrame:
    """(item_id, item_index, first and last day seen) of every item; a new one has no index.

    `events` are those since `first`: of these days they alone tell, of earlier ones `items`. With `first` the 5th:

    | items: first, last | events |      | first, last |
    |--------------------|--------|      |-------------|
    | 3, 7               | 6      |      | 3, 6        |
    | 3, 7               | -      |  ->  | 3, null     | lost: an earlier event has it, perhaps of the 4th
    | 6, 7               | 7      |      | 7, 7        |
    | 6, 7               | -      |      | null, null  | no event has it
    """
    known = (F.when(F.col(name) < F.lit(first), F.col(name)).alias(name) for name in _DAYS)
    return _merged(_seen(events).unionByName(items.select("item_id", "item_index", *known)))


def _looked_up(days: DataFrame, earlier: DataFrame) -> DataFrame:
    """`days`, of lost items with the last of the earlier events."""
    lost = days.where(_is_lost()).select("item_id")
    return _merged(days.unionByName(_seen(earlier).join(F.broadcast(lost), "item_id", "left_semi")))


def _or_never(days: DataFrame) -> DataFrame:
    is_seen = F.col("last_seen_date").isNotNull()
    return days.withColumns({name: F.when(is_seen, F.col(name)).otherwise(F.lit(NEVER)) for name in _DAYS})


def _is_lost() -> Column:
    return F.col("first_seen_date").isNotNull() & F.col("last_seen_date").isNull()


def _seen(events: DataFrame) -> DataFrame:
    columns = {"item_index": F.lit(None).cast("int")} | {name: F.col("event_date") for name in _DAYS}
    return events.where(F.col("item_id").isNotNull()).withColumns(columns).select("item_id", *columns)


def _merged(rows: DataFrame) -> DataFrame:
    days = (F.min("first_seen_date").alias("first_seen_date"), F.max("last_seen_date").alias("last_seen_date"))
    return rows.groupBy("item_id").agg(F.max("item_index").alias("item_index"), *days)


def _counts(days: DataFrame) -> list[Row]:
    """What numbering must know: new items by day, and, where day is null, known ones with the greatest index."""
    by_day = days.groupBy(F.when(F.col("item_index").isNull(), F.col("first_seen_date")).alias("day"))
    counts = {"count": F.count("*"), "greatest": F.max("item_index"), "lost": F.count_if(_is_lost())}
    return by_day.agg(*(column.alias(name) for name, column in counts.items())).collect()


def _with_new_indices(days: DataFrame, counts: Sequence[Row]) -> DataFrame:
    """Numbers items without an index after the greatest one: within a day by a window, days by a small table."""
    is_new = F.col("item_index").isNull()
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
