"""What the baselines learn, counted in Spark from everything before the test, and brought to arrays. I items, L links.

An item takes a few bytes on the driver, and at most `evaluation.neighbours` links: 16 bytes each while they are read.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Evaluation
from nextaisle.evaluation.cases import days_since_epoch, target_type_indices
from nextaisle.evaluation.cosines import measure_cosines
from nextaisle.evaluation.rankers import GROUPS, Baselines, Links

Array = npt.NDArray[Any]

POPULAR_DAYS = 7


@dataclass(frozen=True)
class _Counts:
    """Of each item, [I + 1]: events of target types, those of the last POPULAR_DAYS, all events; its hash."""

    target_I: Array
    recent_I: Array
    event_I: Array
    hash_I: Array


def learn_baselines(histories: DataFrame, item_count: int, evaluation: Evaluation, as_of: date) -> Baselines:
    """Counts what `histories` (see build_histories) marks as training."""
    training = histories.where(F.col("is_training") & (F.col("item_index") > 0))
    counts = _count_events(training, item_count, evaluation, as_of)
    rank_I = np.argsort(_by_popularity(counts.target_I, counts.hash_I))
    most = evaluation.neighbours
    return Baselines(
        popular_P=_popular(counts.target_I, counts.hash_I),
        popular_7_days_P=_popular(counts.recent_I, counts.hash_I) if evaluation.protocol == "time" else None,
        popularity_rank_I=rank_I,
        followers=_links(_strongest(count_followers(training, evaluation), most), item_count, rank_I),
        neighbours=_links(measure_cosines(training, counts.hash_I, most), item_count, rank_I),
        target_types=target_type_indices(evaluation),
        unseen_E=np.flatnonzero(counts.event_I == 0),
        tie_key_I=counts.hash_I,
        group_I=_groups(counts.target_I, rank_I),
    )


def count_followers(training: DataFrame, evaluation: Evaluation) -> DataFrame:
    """from_index, item_index, item_hash, weight: how often a target came right after another event of its user.

    Across visits as well: what opens the next basket follows the last one's end. An item may follow itself.
    """
    is_target = F.col("event_type_index").isin(*target_type_indices(evaluation))
    followed = training.where(is_target & (F.col("previous_index") > 0))
    pairs = followed.groupBy(F.col("previous_index").alias("from_index"), "item_index", "item_hash")
    return pairs.agg(F.count("*").cast("double").alias("weight"))


def _count_events(training: DataFrame, item_count: int, evaluation: Evaluation, as_of: date) -> _Counts:
    is_target = F.col("event_type_index").isin(*target_type_indices(evaluation))
    first_day = days_since_epoch(evaluation.cuts(as_of).last_validation) - POPULAR_DAYS + 1
    counts = {
        "target": _count(is_target), "recent": _count(is_target & (F.col("event_day") >= first_day)),
        "event": F.count("*"), "hash": F.first("item_hash"),
    }  # fmt: skip
    found = training.groupBy("item_index").agg(*(column.alias(name) for name, column in counts.items())).toArrow()
    arrays = {name: np.zeros(item_count + 1, np.int64) for name in counts}
    for name, array in arrays.items():
        array[_numpy(found, "item_index")] = _numpy(found, name)
    return _Counts(*arrays.values())


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, True))


def _groups(count_I: Array, rank_I: Array) -> Array:
    """1 to GROUPS for each item: cut by popularity so that each group has as many events; 0 for items without any."""
    by_rank = count_I[np.argsort(rank_I)]
    before_I = (np.cumsum(by_rank) - by_rank)[rank_I]
    group_I = 1 + before_I * GROUPS // max(1, int(count_I.sum()))
    return np.where(count_I > 0, group_I, 0).astype(np.int8)


def _by_popularity(count_I: Array, hash_I: Array) -> Array:
    """Item indices, most popular first, equals by the hash of their ids."""
    order: Array = np.lexsort([np.arange(len(count_I)), hash_I, -count_I])
    return order


def _popular(count_I: Array, hash_I: Array) -> Array:
    order = _by_popularity(count_I, hash_I)
    return order[count_I[order] > 0].astype(np.int32)


def _strongest(pairs: DataFrame, most: int) -> pa.Table:
    by_weight = Window.partitionBy("from_index").orderBy(F.desc("weight"), "item_hash", "item_index")
    kept = pairs.withColumn("place", F.row_number().over(by_weight)).where(F.col("place") <= most)
    return kept.select("from_index", "item_index", "weight").toArrow()


def _links(pairs: pa.Table, item_count: int, popularity_rank_I: Array) -> Links:
    """Of equally strong ones the more popular stands first."""
    from_L, item_L, weight_L = (_numpy(pairs, name) for name in ("from_index", "item_index", "weight"))
    order = np.lexsort([popularity_rank_I[item_L], -weight_L, from_L])
    offset_I1 = np.searchsorted(from_L[order], np.arange(item_count + 2))
    return Links(offset_I1, item_L[order].astype(np.int32), weight_L[order].astype(np.float32))


def _numpy(table: pa.Table, name: str) -> Array:
    return np.asarray(table[name].to_numpy())
