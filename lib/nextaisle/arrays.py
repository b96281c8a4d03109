"""Index arithmetic on flat arrays, without a loop. B rows, S (row, item) pairs ordered by row, C columns."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


def gathered(first: Integers, end: Integers) -> Integers:
    """All places of the ranges first[i] to end[i] - 1, one range after the other.

    >>> gathered(np.array([0, 1]), np.array([2, 4]))
    array([0, 1, 1, 2, 3])
    """
    lengths = end - first
    offsets = np.cumsum(lengths) - lengths
    places: Integers = np.arange(lengths.sum()) + np.repeat(first - offsets, lengths)
    return places


def run_starts(*columns: Array) -> Integers:
    """Places where a run of equal values (in all columns together) begins; none for empty columns.

    >>> run_starts(np.array([7, 7, 8, 7]))
    array([0, 2, 3])
    """
    changes = [np.diff(column) != 0 for column in columns]
    is_start = np.concatenate([[True], np.logical_or.reduce(changes)]) if len(columns[0]) else np.zeros(0, bool)
    return np.flatnonzero(is_start)


def text_run_starts(texts: pa.Array | pa.ChunkedArray) -> Integers:
    """Places where a run of equal texts, none of them null, begins."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if not len(whole):
        return np.zeros(0, np.int64)
    changes = pc.not_equal(whole[1:], whole[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def numbered(texts: pa.Array) -> tuple[Integers, pa.Array]:
    """Each text's place among the different ones, which follow in order; none of them is null.

    >>> numbered(pa.array(["b", "a", "b"]))[0]
    array([1, 0, 1])
    """
    coded = texts.dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return rank[coded.indices.to_numpy()], coded.dictionary.take(order)


def ranges(begin_B: Array, end_B: Array) -> tuple[Array, Array]:
    """Ranges written out, and where each begins: [3, 10], [5, 11] gives 3 4 10 and 0 2 3."""
    return gathered(begin_B, end_B), np.concatenate([[0], np.cumsum(end_B - begin_B)])


def pair_keys(row: Array, item: Array) -> Array:
    """One integer for a row and an item; in the order of both."""
    return (row.astype(np.int64) << 32) | item.astype(np.int64)


def split_keys(key: Array) -> tuple[Array, Array]:
    """The row and the item of `pair_keys`."""
    return key >> 32, key & 0xFFFFFFFF


def padded(row_S: Array, item_S: Array, row_count: int) -> Array:
    """[B, C], filled on the right with 0, of pairs that are ordered by row: 0 0 2 / 7 8 9 gives 7 8, 0 0, 9 0."""
    count_B = np.bincount(row_S, minlength=row_count)
    item_BC = np.zeros((row_count, int(count_B.max(initial=0))), np.int32)
    place_S = np.arange(len(row_S)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
    item_BC[row_S, place_S] = item_S
    return item_BC


def hashed(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """SipHash with a fixed key, as pandas computes it in C."""
    return pd.util.hash_array(texts.to_numpy(zero_copy_only=False).astype(object), categorize=False)
