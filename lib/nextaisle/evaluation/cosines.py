"""Which items are in the same sessions, as arrays. I items, P pairs of items, N items of all sessions.

One shuffle sends each session to each of its items; to count pairs and to choose among them is NumPy's, for they are
many: 20 for each event of a grocer's baskets.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from nextaisle.arrays import pair_keys, split_keys

Array = npt.NDArray[Any]

# Pairs of a session grow with the square of its items; of larger ones a sample by hash is enough.
MAX_SESSION_ITEMS = 100
# Pairs that are sorted together: 64 MiB.
_PAIRS_AT_ONCE = 1 << 23
_SCHEMA = "from_index int, item_index int, weight double"


def measure_cosines(training: DataFrame, hash_I: Array, most: int) -> pa.Table:
    """from_index, item_index, weight: sessions with both, over the root of sessions with one times sessions with other.

    | session | items |      | from | item | weight       |
    |---------|-------|      |------|------|--------------|
    | s       | 1 2   |      | 1    | 2    | 1 / √(2 · 1) |
    | t       | 1 3   |  ->  | 1    | 3    | 1 / √(2 · 1) |

    Of each item the `most` largest, equals by the hash of their ids; the other way round each pair is judged again.
    """
    sessions = _session_items(training).persist(StorageLevel.DISK_ONLY)
    try:
        shipped = training.sparkSession.sparkContext.broadcast((_session_counts(sessions, len(hash_I)), hash_I))

        def choose(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            count_I, hash_I = shipped.value
            yield strongest_pairs(_pair_blocks(batches), count_I, hash_I, most)

        routed = sessions.select(F.explode("items").alias("from_index"), "items").repartition("from_index")
        return routed.mapInArrow(choose, _SCHEMA).toArrow()
    finally:
        sessions.unpersist()


def strongest_pairs(blocks: Iterable[Array], count_I: Array, hash_I: Array, most: int) -> pa.RecordBatch:
    """Counts equal keys (see pair_keys) over all blocks and keeps the `most` largest cosines of each first item."""
    key_P, both_P = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for block in blocks:
        key_P, both_P = _added(key_P, both_P, *np.unique(block, return_counts=True))
    from_P, item_P = split_keys(key_P)
    weight_P = both_P / np.sqrt(count_I[from_P].astype(np.float64) * count_I[item_P])
    order = np.lexsort([item_P, hash_I[item_P], -weight_P, from_P])
    from_P, item_P, weight_P = from_P[order], item_P[order], weight_P[order]
    kept = np.arange(len(from_P)) - np.searchsorted(from_P, from_P) < most
    arrays = [pa.array(from_P[kept], pa.int32()), pa.array(item_P[kept], pa.int32()), pa.array(weight_P[kept])]
    return pa.RecordBatch.from_arrays(arrays, ["from_index", "item_index", "weight"])


def _added(key_P: Array, count_P: Array, key_Q: Array, count_Q: Array) -> tuple[Array, Array]:
    """The union of the keys, with the sums of their counts."""
    if not len(key_P):
        return key_Q, count_Q
    key, place = np.unique(np.concatenate([key_P, key_Q]), return_inverse=True)
    total = np.bincount(place, np.concatenate([count_P, count_Q]), minlength=len(key))
    return key, total.astype(np.int64)  # exact: far below 2^53


def _pair_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[Array]:
    """Keys of (from_index, each other item of the session), in blocks of bounded size."""
    waiting: list[Array] = []
    for batch in batches:
        others = batch.column("items")
        from_N = np.repeat(batch.column("from_index").to_numpy(), np.asarray(others.value_lengths()))
        item_N = others.flatten().to_numpy()
        waiting.append(pair_keys(from_N, item_N)[from_N != item_N])
        if sum(map(len, waiting)) >= _PAIRS_AT_ONCE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _session_items(training: DataFrame) -> DataFrame:
    """session_hash, items: the distinct items of each session, at most MAX_SESSION_ITEMS."""
    item = F.struct(F.xxhash64("session_hash", "item_hash").alias("order"), "item_index")
    members = F.slice(F.sort_array(F.collect_set(item)), 1, MAX_SESSION_ITEMS)["item_index"]
    return training.groupBy("session_hash").agg(members.alias("items"))


def _session_counts(sessions: DataFrame, size: int) -> Array:
    """Sessions with each item: [I + 1]."""
    found = sessions.select(F.explode("items").alias("item")).groupBy("item").count().toArrow()
    count_I = np.zeros(size, np.int64)
    count_I[found["item"].to_numpy()] = found["count"].to_numpy()
    return count_I
