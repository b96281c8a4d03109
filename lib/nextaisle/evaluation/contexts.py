"""What is known before each case, flattened; and ragged lists made rectangular.

B cases, E events of all contexts, S (case, item) pairs ordered by case, C candidates, K ranks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextaisle.evaluation.cases import Cases, Histories

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Contexts:
    """Case b's events, oldest first, are `offset_B1[b] : offset_B1[b + 1]` of the arrays [E]."""

    offset_B1: Array
    item_E: Array
    event_type_E: Array
    is_session_start_E: Array

    @property
    def count(self) -> int:
        return len(self.offset_B1) - 1

    @property
    def row_E(self) -> Array:
        return np.repeat(np.arange(self.count), np.diff(self.offset_B1))


def gather_contexts(histories: Histories, cases: Cases) -> Contexts:
    """Copies of the events that each case may know."""
    place_E, offset_B1 = ranges(cases.begin_B, cases.end_B)
    arrays = (histories.item_E, histories.event_type_E, histories.is_session_start_E)
    return Contexts(offset_B1, *(array[place_E] for array in arrays))


def ranges(begin_B: Array, end_B: Array) -> tuple[Array, Array]:
    """Ranges written out, and where each begins: [3, 10], [5, 11] gives 3 4 10 and 0 2 3."""
    length_B = end_B - begin_B
    offset_B1 = np.concatenate([[0], np.cumsum(length_B)])
    return np.arange(offset_B1[-1]) + np.repeat(begin_B - offset_B1[:-1], length_B), offset_B1


def pair_keys(row: Array, item: Array) -> Array:
    """One integer for a case and an item; in the order of both."""
    return (row.astype(np.int64) << 32) | item.astype(np.int64)


def split_keys(key: Array) -> tuple[Array, Array]:
    """The case and the item of `pair_keys`."""
    return key >> 32, key & 0xFFFFFFFF


def padded(row_S: Array, item_S: Array, row_count: int) -> Array:
    """[B, C], filled on the right with 0, of pairs that are ordered by row: 0 0 2 / 7 8 9 gives 7 8, 0 0, 9 0."""
    count_B = np.bincount(row_S, minlength=row_count)
    item_BC = np.zeros((row_count, int(count_B.max(initial=0))), np.int32)
    place_S = np.arange(len(row_S)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
    item_BC[row_S, place_S] = item_S
    return item_BC
