"""Rows dealt to Spark's tasks by ranges of their users' hashes, which a task then goes through in order.

So a file that a task writes has the users of one range, in order (embedded.py), and a later night's task finds its
users in the few files whose ranges meet its own: a merge join of sorted runs, without a second shuffle.

A table's files are found by these hashes for years: neither the function nor its seed may change.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.spark import staged, tasks_for_files
from nextaisle.storage.embedded import USER_HASH

# Of a hash, the bits that say in which range it is.
_RANGE_BITS: Final = 16
_HASH_BITS: Final = 64
# Spark's seed where it hashes the values by which it deals rows.
_SPARK_SEED: Final = 42
# Bytes of seeds, roughly, for each byte of one night's rows.
_SEEDS_BRING: Final = 16
_ADAPTIVE_COUNT: Final = "spark.sql.adaptive.coalescePartitions.initialPartitionNum"


def dealt_by_user(rows: DataFrame, *order: str, has_seeds: bool) -> DataFrame:
    """The rows with their USER_HASH, shuffled by ranges of it at once; within a task by it, user_id, and `order`.

    `has_seeds`: the task will look up each user's seed, which takes more of its time than the rows that are shuffled.
    """
    with tasks_for_files(rows.sparkSession, _SEEDS_BRING if has_seeds else 1):
        dealt = staged(with_user_hash(rows), task_of_user(rows.sparkSession))
    return dealt.sortWithinPartitions(USER_HASH, "user_id", *order)


def with_user_hash(rows: DataFrame) -> DataFrame:
    return rows.withColumn(USER_HASH, F.xxhash64("user_id"))


def range_of_user(count: int) -> Column:
    """In which of `count` ranges of equal width a row's USER_HASH is, from 0 on."""
    from_zero = F.shiftright(USER_HASH, _HASH_BITS - _RANGE_BITS) + F.lit(1 << _RANGE_BITS - 1)
    return F.shiftright(from_zero * F.lit(count), _RANGE_BITS).cast("int")


def task_of_user(spark: SparkSession) -> Column:
    """What to repartition rows with a USER_HASH by, so that each task has a range and the next task the next range.

    Spark puts together tasks that are next to each other where they have little: theirs is then one range, too.
    """
    count = int(spark.conf.get(_ADAPTIVE_COUNT, None) or spark.conf.get("spark.sql.shuffle.partitions") or 1)
    return F.lit(list(_keys(count)))[range_of_user(count)]


@cache
def _keys(count: int) -> tuple[int, ...]:
    """The least integers that Spark, which deals rows by the hash of a value, deals to tasks 0, 1, ... `count` - 1."""
    first = np.full(count, -1, np.int64)
    size = count
    while (first < 0).any():
        size *= 2
        numbers = np.arange(size, dtype=np.uint32)
        tasks, places = np.unique(_murmur3(numbers).view(np.int32).astype(np.int64) % count, return_index=True)
        first[tasks] = places
    return tuple(first.tolist())


def _murmur3(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3_x86_32 of integers of 4 bytes, by Appleby, which is in the public domain."""
    mixed = _rotated(numbers * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    mixed = _rotated(mixed ^ np.uint32(_SPARK_SEED), 13) * np.uint32(5) + np.uint32(0xE6546B64)
    mixed ^= np.uint32(numbers.itemsize)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ mixed >> np.uint32(shift)) * np.uint32(factor)
    return mixed ^ mixed >> np.uint32(16)


def _rotated(numbers: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return numbers << np.uint32(bits) | numbers >> np.uint32(32 - bits)
