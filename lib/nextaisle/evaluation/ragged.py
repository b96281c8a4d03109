"""Ragged lists as flat arrays. B rows, S (row, item) pairs ordered by row, C columns."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def ranges(begin_B: Array, end_B: Array) -> tuple[Array, Array]:
    """Ranges written out, and where each begins: [3, 10], [5, 11] gives 3 4 10 and 0 2 3."""
    length_B = end_B - begin_B
    offset_B1 = np.concatenate([[0], np.cumsum(length_B)])
    return np.arange(offset_B1[-1]) + np.repeat(begin_B - offset_B1[:-1], length_B), offset_B1


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
