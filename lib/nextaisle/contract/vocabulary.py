"""The vocabulary: which item stands behind each index, and its attributes as integers. I items, padding at 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Array = npt.NDArray[Any]

# Groups of items of like price, each with as many items.
PRICE_BUCKETS = 10


def latest_items(items: DataFrame) -> DataFrame:
    """The newest row of each item: the table items has one per item and state of its attributes."""
    newest = F.max_by(F.struct(*items.columns), "valid_from").alias("item")
    return items.groupBy("item_index").agg(newest).select("item.*")


def item_count(items: DataFrame) -> int:
    """The largest index; indices have no gaps."""
    found = items.agg(F.max("item_index").alias("largest")).head()
    return int(found["largest"] or 0) if found else 0


def vocabulary_hash(items: DataFrame, item_count: int) -> str:
    """What indices 1 to `item_count` stand for, as text: equal where a model's vocabulary is a prefix of the table's.

    It adds up a hash of each pair of id and index, so it depends on no order: `"3:1f2e..."`.
    """
    pairs = items.where(F.col("item_index") <= item_count).select("item_id", "item_index").distinct()
    total = F.sum(F.xxhash64("item_id", "item_index").cast("decimal(38,0)"))
    row = pairs.agg(F.count("*").alias("count"), total.alias("total")).head()
    return f"{row['count']}:{int(row['total'] or 0) % (1 << 64):016x}" if row else "0:"


def attribute_values(items: DataFrame, names: Sequence[str], item_count: int) -> dict[str, Array]:
    """For each attribute an array [item_count + 1] of values 1, 2, ...; 0 is the padding, and unknown.

    | item_index | brand | price | brand value | price value (of 2 buckets) |
    |------------|-------|-------|-------------|----------------------------|
    | 1          | Acme  | 1.00  | 1           | 1                          |
    | 2          | null  | null  | 0           | 0                          |
    | 3          | Bolt  | 9.00  | 2           | 2                          |

    Only integers come to the driver, a row per item: 64-bit hashes of the texts, then numbered in the hashes' order.
    """
    if not names:
        return {}
    rows = latest_items(items).where(F.col("item_index") <= item_count)
    columns = [_comparable(name).alias(name) for name in names]
    frame = rows.select("item_index", *columns).toPandas()
    places = frame["item_index"].to_numpy()
    values = {}
    for name in names:
        found = frame[name].to_numpy(dtype=np.float64 if name == "price" else np.int64)
        values[name] = np.zeros(item_count + 1, np.int64)
        values[name][places] = _bucketed(found) if name == "price" else _numbered(found)
    return values


def _comparable(name: str) -> Column:
    """A price as it is, anything else as a hash; 0 where it is unknown."""
    if name == "price":
        return F.coalesce(F.col(name).cast("double"), F.lit(0.0))
    return F.when(F.col(name).isNull(), F.lit(0).cast("bigint")).otherwise(F.xxhash64(name))


def _numbered(hash_I: Array) -> Array:
    known = np.unique(hash_I[hash_I != 0])
    return np.where(hash_I == 0, 0, np.searchsorted(known, hash_I) + 1)


def _bucketed(price_I: Array) -> Array:
    """1 to PRICE_BUCKETS by quantile; equal prices share a bucket."""
    known = price_I[price_I > 0]
    if len(known) == 0:
        return np.zeros(len(price_I), np.int64)
    borders = np.quantile(known, np.arange(1, PRICE_BUCKETS) / PRICE_BUCKETS)
    return np.where(price_I > 0, np.searchsorted(borders, price_I, side="left") + 1, 0)
