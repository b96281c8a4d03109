"""What the workers know of the items: ids, popularity, tie keys, and what nobody is shown. I items, padding at 0."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import changed_sessions
from nextaisle.contract.vocabulary import latest_items

log = logging.getLogger(__name__)
Array = npt.NDArray[Any]

# Four weeks: long enough to be steady, short enough for the season; whole weeks, since days of the week differ.
POPULAR_DAYS = 28


@dataclass(frozen=True)
class Catalogue:
    """Arrays over items.item_index; about 50 bytes an item.

    | array              | entry                                                                  |
    |--------------------|------------------------------------------------------------------------|
    | item_id_I          | the shop's id; "" for the padding                                      |
    | tie_key_I          | a hash of the id, which orders items of equal scores                   |
    | recent_count_I     | target events in the last POPULAR_DAYS days                            |
    | popularity_rank_I  | 1 for the most popular: recent_count, then last seen, then the tie key |
    | hidden_E           | the indices of what is not for sale, or was first seen after the day   |
    """

    item_id_I: pa.Array
    tie_key_I: Array
    recent_count_I: Array
    popularity_rank_I: Array
    hidden_E: Array

    def most_popular(self, k: int) -> Array:
        """Indices of the first K items that are for sale."""
        order = np.argsort(self.popularity_rank_I)[1:]
        return order[~np.isin(order, self.hidden_E)][:k]


def read_catalogue(
    items: DataFrame,
    sessions: DataFrame,
    day: date,
    zone: str,
    target_event_types: Sequence[str],
    not_for_sale: Sequence[str],
) -> Catalogue:
    """The vocabulary with its popularity as of `day`. One row per item comes to the driver.

    Items of later days are hidden, for lists of an old day.
    """
    counts = _recent_counts(sessions, day, zone, target_event_types)
    known = latest_items(items).select("item_index", "item_id", "first_seen_date", "last_seen_date")
    rows = known.join(counts, "item_id", "left").select(
        "item_index", "item_id", F.xxhash64("item_id").alias("tie_key"),
        F.coalesce("recent_count", F.lit(0)).alias("recent_count"),
        F.unix_date(F.least("last_seen_date", F.lit(day))).alias("last_seen"),
        (F.col("first_seen_date") > F.lit(day)).alias("is_later"),
    )  # fmt: skip
    found = rows.toArrow().sort_by("item_index")
    return _catalogue(found, not_for_sale)


def _recent_counts(sessions: DataFrame, day: date, zone: str, target_event_types: Sequence[str]) -> DataFrame:
    """Target events of each item in the last POPULAR_DAYS days through `day`, whenever their sessions began."""
    first = day - timedelta(days=POPULAR_DAYS - 1)
    recent = changed_sessions(sessions, first, zone).where(F.col("session_date") <= F.lit(day))
    zipped = F.arrays_zip("item_ids", "event_types", "event_times")
    events = recent.select(F.explode(zipped).alias("event")).select("event.*")
    is_recent = F.from_utc_timestamp("event_times", zone).cast("date").between(F.lit(first), F.lit(day))
    is_target = F.col("event_types").isin(*target_event_types) & F.col("item_ids").isNotNull()
    targets = events.where(is_recent & is_target)
    return targets.groupBy(F.col("item_ids").alias("item_id")).agg(F.count("*").alias("recent_count"))


def _catalogue(rows: pa.Table, not_for_sale: Sequence[str]) -> Catalogue:
    ids = pa.concat_arrays([pa.array([""]), *rows["item_id"].chunks])
    tie_key, count, last_seen = (_with_padding(rows, name) for name in ("tie_key", "recent_count", "last_seen"))
    order = np.lexsort((tie_key[1:], -last_seen[1:], -count[1:])) + 1
    rank = np.zeros(len(ids), np.int64)
    rank[order] = np.arange(1, len(ids))
    is_kept_back = pa.compute.is_in(ids, value_set=pa.array(list(not_for_sale), pa.string()))
    hidden = is_kept_back.to_numpy(zero_copy_only=False)
    if (missing := len(set(not_for_sale)) - int(hidden.sum())) > 0:
        log.warning("scoring.not_for_sale names %s items that no event ever had", missing)
    return Catalogue(ids, tie_key, count, rank, np.flatnonzero(hidden | _with_padding(rows, "is_later").astype(bool)))


def _with_padding(rows: pa.Table, name: str) -> Array:
    return np.concatenate([[0], rows[name].to_numpy()])
