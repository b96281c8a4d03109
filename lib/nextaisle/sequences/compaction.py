"""Which rows of sequences old months keep, so that any day can still be told; see contract/as_of.py."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.arrays import Integers, run_starts
from nextaisle.contract.tables import SEQUENCES
from nextaisle.sequences.histories import users_of
from nextaisle.spark import staged
from nextaisle.storage.embedded import USER_HASH
from nextaisle.storage.kernels import ArrowRows, Batches, Part, whole_users
from nextaisle.storage.user_ranges import range_of_user, with_user_hash

# More than any user's events: users' counts stand one after the other on one line.
_APART = 1 << 40
# Rows that are judged together. A user with more is a block of one's own.
_BLOCK_ROWS = 50_000


def compacted(sequences: DataFrame, through: date) -> tuple[ArrowRows, list[date]]:
    """The days through `through` that have rows which are not kept; and of the rows of these days those that are."""
    old = sequences.where(F.col("as_of_date") <= F.lit(through))
    # The narrowest of the arrays tells their size.
    narrow = old.select("user_id", "as_of_date", "event_count", F.size("is_session_start").cast("bigint").alias("size"))
    by_user = staged(narrow, "user_id").sortWithinPartitions("user_id", "as_of_date")
    judged = by_user.mapInArrow(_judged, "user_id string, as_of_date date, is_kept boolean")
    days = sorted(row["as_of_date"] for row in judged.where("NOT is_kept").select("as_of_date").distinct().collect())
    kept = judged.where("is_kept").select("user_id", "as_of_date")
    rows = old.where(F.col("as_of_date").isin(days)).join(kept, ["user_id", "as_of_date"], "left_semi")
    return ArrowRows(SEQUENCES, (Part(_by_day(rows, len(days))),)), days


def _by_day(rows: DataFrame, days: int) -> DataFrame:
    """Few tasks have rows of one day, and one task has few days: there would be a file for each of both."""
    tasks = int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)
    dealt = with_user_hash(rows.select(*SEQUENCES.names))
    dealt = dealt.repartition("as_of_date", range_of_user(max(1, tasks // max(1, days))))
    return dealt.sortWithinPartitions("as_of_date", USER_HASH)


def is_kept(user_N: Integers, count_N: Integers, size_N: Integers) -> NDArray[np.bool_]:
    """A chain from a user's first row on, each the latest that leaves no event out after the one before; and the last.

    Row n holds the latest size_N[n] of count_N[n] events. What came later changes no link of the chain but its last.

    | size_N  | 1 2 3 3 3 3 |                                                    |
    |---------|-------------|----------------------------------------------------|
    | count_N | 1 2 3 5 6 7 |                                                    |
    | events  | a ab abc cde def efg |                                           |
    | kept    | - - x - x x | abc is the latest from the start; def follows on it |
    """
    first_N = count_N - size_N + user_N * _APART
    end_N = count_N + user_N * _APART
    start_U = run_starts(user_N)
    last_U = np.append(start_U[1:], len(user_N))[: len(start_U)] - 1
    kept_N = np.zeros(len(user_N), bool)
    kept_N[last_U] = True
    reached_U = user_N[start_U] * _APART
    # One round for each time that the arrays of the user with most events are full.
    at_U, open_U = start_U - 1, np.arange(len(start_U))
    while len(open_U):
        link = np.searchsorted(first_N, reached_U[open_U], side="right") - 1
        # A day that brings more than an array holds leaves a gap that no answer needs.
        link = np.clip(link, at_U[open_U] + 1, last_U[open_U])
        kept_N[link] = True
        at_U[open_U], reached_U[open_U] = link, end_N[link]
        open_U = open_U[link < last_U[open_U]]
    return kept_N


def _judged(batches: Batches) -> Iterator[pa.RecordBatch]:
    for rows in whole_users(batches, _BLOCK_ROWS):
        kept_N = is_kept(users_of(rows), rows["event_count"].to_numpy(), rows["size"].to_numpy())
        yield from rows.select(["user_id", "as_of_date"]).append_column("is_kept", pa.array(kept_N)).to_batches()
