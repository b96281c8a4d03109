"""Which rows of sequences old weeks keep, so that any day can still be told; see contract/as_of.py."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.arrays import Integers, run_starts
from nextaisle.sequences.histories import user_ids, users_of, whole_users

# More than any user's events: users' counts stand one after the other on one line.
_APART = 1 << 40


def compacted(sequences: DataFrame, through: date) -> DataFrame:
    """Of the rows of the days through `through` those that are kept."""
    old = sequences.where(F.col("as_of_date") <= F.lit(through))
    narrow = old.select("user_id", "as_of_date", "event_count", F.size("is_session_start").cast("bigint").alias("size"))
    sorted_rows = narrow.repartition("user_id").sortWithinPartitions("user_id", "as_of_date")
    kept = sorted_rows.mapInArrow(_kept_keys, "user_id string, as_of_date date")
    return old.join(kept, ["user_id", "as_of_date"], "left_semi").select(sequences.columns)


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


def _kept_keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in whole_users(batches, len):
        user_N = users_of(rows)
        kept = is_kept(user_N, rows["event_count"].to_numpy(), rows["size"].to_numpy())
        chosen = pa.array(np.flatnonzero(kept))
        columns = [user_ids(rows).take(pa.array(user_N)).take(chosen), rows["as_of_date"].combine_chunks().take(chosen)]
        yield pa.RecordBatch.from_arrays(columns, ["user_id", "as_of_date"])
