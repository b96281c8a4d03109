"""How often a key comes, told in one pass over the rows.

A key is a hash of 64 bits, so that of each record a number goes through the shuffle, packed with thousands of others.
Keys that two hashes make equal are counted together: whoever asks looks at the rows that are left.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nextaisle.arrays import run_starts
from nextaisle.storage.kernels import Batches, whole_groups

Integers = NDArray[np.int64]

KEY: Final = "key"
_DDL: Final = "kind string, bucket int, keys binary, times binary"
# Keys are counted by bucket, so that a task holds a part of what it counts.
_BUCKETS: Final = 4096
# Rows that a task holds before it adds up what is equal: of two keys 64 MB.
_HELD_KEYS: Final = 4_000_000
# Packed keys that are counted at once, at least; NumPy takes five times as much.
_HELD_BYTES: Final = 16 << 20


def tally(rows: DataFrame, keys: Mapping[str, Column]) -> DataFrame:
    """How often each of these keys (bigint, nulls left out) comes, packed for `tallied`; in one pass over the rows."""

    def pack(batches: Batches) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= _HELD_KEYS:
                yield from _packed(waiting)
                waiting = []
        yield from _packed(waiting)

    return rows.select(*(key.alias(name) for name, key in keys.items())).mapInArrow(pack, _DDL)


def tallied(kind: str, tallies: Sequence[DataFrame], is_wanted: Callable[..., NDArray[np.bool_]]) -> DataFrame:
    """(KEY) of the keys of a kind that are wanted for how often they come in each of the tallies."""
    tally_count = len(tallies)

    def chosen(batches: Batches) -> Iterator[pa.RecordBatch]:
        for rows in whole_groups(batches, "bucket", _HELD_BYTES):
            yield pa.RecordBatch.from_arrays([pa.array(wanted_of(rows))], [KEY])

    def wanted_of(rows: pa.Table) -> Integers:
        all_keys, all_times = (np.frombuffer(b"".join(rows[name].to_pylist()), np.int64) for name in ("keys", "times"))
        sizes = [len(keys.as_buffer()) // 8 for keys in rows["keys"]]
        origin = np.repeat(rows["origin"].to_numpy(), sizes)
        keys, place = np.unique(all_keys, return_inverse=True)
        times = np.bincount(origin * len(keys) + place, all_times, tally_count * len(keys))
        wanted: Integers = keys[is_wanted(*times.reshape(tally_count, len(keys)))]
        return wanted

    marked = [
        rows.where(F.col("kind") == kind).drop("kind").withColumn("origin", F.lit(number))
        for number, rows in enumerate(tallies)
    ]
    # The sort spills.
    together = reduce(DataFrame.unionByName, marked).repartition("bucket").sortWithinPartitions("bucket")
    return together.mapInArrow(chosen, f"{KEY} bigint")


def _packed(waiting: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if waiting:
        rows = pa.Table.from_batches(waiting)
        for name in rows.column_names:
            yield _in_buckets(name, rows[name].drop_null().to_numpy())


def _in_buckets(kind: str, all_keys: Integers) -> pa.RecordBatch:
    """One row per bucket."""
    keys, times = np.unique(all_keys, return_counts=True)
    bucket = keys % _BUCKETS
    order = np.argsort(bucket, kind="stable")
    starts = run_starts(bucket[order])
    cuts = starts[1:]
    packed = [
        pa.array([part.tobytes() for part in np.split(values[order], cuts)] if len(starts) else [], pa.binary())
        for values in (keys, times.astype(np.int64))
    ]
    columns = [pa.array([kind] * len(starts), pa.string()), pa.array(bucket[order][starts], pa.int32()), *packed]
    return pa.RecordBatch.from_arrays(columns, ["kind", "bucket", "keys", "times"])
