"""Sessions to rows of the table item_graph, and the table to the graph that a reader wants.

Transitions are the edges of session graphs as SR-GNN (Wu et al., AAAI 2019) builds them, over up to max_distance
places; co-purchases are the co-occurrences of item-based collaborative filtering (Sarwar et al., WWW 2001). Swing
(Yang et al., 2020) counts pairs of users with two items in common: it needs users, which no daily count holds.

Whole numbers per day are stored; decay and pruning depend on the day of reading, and are done then.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.changes import changed_sessions
from nextaisle.config import ItemGraph, PublishedGraph
from nextaisle.contract.tables import ITEM_GRAPH
from nextaisle.profiles.pairs import CO_PURCHASE, PAIR_SCHEMA, Rules, counted_pairs, session_pairs
from nextaisle.storage.kernels import ArrowRows, Batches, Part, whole_groups

# Weights are whole multiples of 2^-30: sums of whole numbers are the same in any order.
_UNIT_BITS: Final = 30
# A day's pairs are counted in parts, some at once: as many as have these bytes; with what is made of them six times as
# many are held.
_PARTS: Final = 4096
_HELD_BYTES: Final = 32 << 20


def rebuild_item_graph(sessions: DataFrame, first: date, rules: ItemGraph, zone: str) -> ArrowRows:
    """Rows of item_graph for the days from `first` on. A pair belongs to the day of its later event."""
    kernel_rules = Rules(rules.event_types, rules.max_distance, rules.max_basket_items, zone)

    def pairs(batches: Batches) -> Iterator[pa.RecordBatch]:
        yield from session_pairs(batches, kernel_rules)

    def counted(batches: Batches) -> Iterator[pa.RecordBatch]:
        for rows in whole_groups(batches, "pair_group", _HELD_BYTES):
            yield counted_pairs(rows)

    narrow = changed_sessions(sessions, first, zone).select("session_id", "item_ids", "event_types", "event_times")
    found = narrow.mapInArrow(pairs, PAIR_SCHEMA).where(F.col("event_date") >= F.lit(first))
    # By day, so that a task writes one file after the other; and in parts, so that it never holds a day.
    part = F.pmod(F.xxhash64("from_item_id", "to_item_id"), F.lit(_PARTS))
    grouped = found.withColumn("pair_group", F.unix_date("event_date").cast("bigint") * F.lit(_PARTS) + part)
    # The sort spills.
    dealt = grouped.repartition("pair_group").sortWithinPartitions("pair_group")
    return ArrowRows(ITEM_GRAPH, (Part(dealt, counted),))


def count_left_out(sessions: DataFrame, first: date, rules: ItemGraph, zone: str) -> dict[str, int]:
    """Sessions with more than max_basket_items items first bought on one day, and the pairs not counted for it."""
    bought = _bought(zone)
    size = F.size(F.array_distinct(bought["item"])).cast("bigint")
    # A smaller one is never sampled.
    large = changed_sessions(sessions, first, zone).where(size > rules.max_basket_items)
    kept = _kept(F.col("bought"), rules.max_basket_items).alias("kept")
    sizes = large.select(size.alias("size"), bought.alias("bought")).select("size", kept).where("kept < size")
    left_out = F.sum(_pairs(F.col("size")) - _pairs(F.col("kept")))
    found = sizes.agg(F.count("*").alias("baskets"), left_out.alias("pairs")).collect()[0]
    return {"capped_baskets": found["baskets"], "left_out_pairs": found["pairs"] or 0}


def _bought(zone: str) -> Column:
    """A session's purchases: item and day."""
    events = F.arrays_zip(F.col("item_ids").alias("item"), F.col("event_types").alias("type"), "event_times")
    bought = F.filter(events, lambda each: (each["type"] == "purchase") & each["item"].isNotNull())

    def dated(each: Column) -> Column:
        day = F.from_utc_timestamp(each["event_times"], zone).cast("date")
        return F.struct(each["item"].alias("item"), day.alias("day"))

    return F.transform(bought, dated)


def _kept(bought: Column, most: int) -> Column:
    """How many of the items are paired: of those first bought on each day at most `most`."""

    def new_on(day: Column) -> Column:
        before = F.filter(bought, lambda each: each["day"] < day)
        return F.size(F.array_except(F.filter(bought, lambda each: each["day"] == day)["item"], before["item"]))

    days = F.array_distinct(bought["day"])
    return F.aggregate(days, F.lit(0), lambda kept, day: kept + F.least(new_on(day), F.lit(most))).cast("bigint")


def published_graph(item_graph: DataFrame, as_of: date, rules: PublishedGraph) -> DataFrame:
    """from_item_id, to_item_id, kind, weight, rank: each item's strongest neighbours by kind, as of a day.

    A pair weighs 1 / distance (Ludewig and Jannach, User Modeling and User-Adapted Interaction 28 (2018), their
    sequential rules), half of it after half_life_days, nothing after 30 half lives; each count's weight is rounded
    down to a multiple of 2^-30. Equal weights rank by to_item_id. A co_purchase is there in both directions.

    | from | to | kind      | distance | age | count |      half life 30
    |------|----|-----------|----------|-----|-------|
    | a    | b  | view_view | 1        | 30  | 4     |
    | a    | b  | view_view | 2        | 0   | 1     |  ->  a b view_view 2.5, rank 1
    """
    oldest = as_of - timedelta(days=int(_UNIT_BITS * rules.half_life_days) + 1)
    rows = item_graph.where((F.col("event_date") <= F.lit(as_of)) & (F.col("event_date") >= F.lit(oldest)))
    units = F.sum(F.col("pair_count") * _units(as_of, rules.half_life_days)).alias("units")
    weighed = rows.groupBy("from_item_id", "to_item_id", "kind").agg(units).where(F.col("units") > 0)
    strongest = Window.partitionBy("from_item_id", "kind").orderBy(F.desc("units"), "to_item_id")
    ranked = _in_both_directions(weighed).withColumn("rank", F.row_number().over(strongest))
    weight = (F.col("units").cast("double") / F.lit(float(1 << _UNIT_BITS))).alias("weight")
    kept = ranked.where(F.col("rank") <= rules.neighbours)
    return kept.select("from_item_id", "to_item_id", "kind", weight, "rank")


def _units(as_of: date, half_life_days: float) -> Column:
    """What one pair weighs, in units of 2^-30. Spark's power is StrictMath's: the same on every machine."""
    age = F.datediff(F.lit(as_of), "event_date").cast("double")
    decayed = F.pow(F.lit(2.0), F.lit(float(_UNIT_BITS)) - age / F.lit(half_life_days))
    return F.floor(decayed / F.greatest("distance", F.lit(1)).cast("double")).cast("bigint")


def _in_both_directions(rows: DataFrame) -> DataFrame:
    there = F.struct("from_item_id", "to_item_id")
    back = F.struct(F.col("to_item_id").alias("from_item_id"), F.col("from_item_id").alias("to_item_id"))
    ways = F.when(F.col("kind") == CO_PURCHASE, F.array(there, back)).otherwise(F.array(there))
    return rows.select(F.explode(ways).alias("way"), "kind", "units").select("way.*", "kind", "units")


def _pairs(size: Column) -> Column:
    return F.shiftright(size * (size - 1), 1)
