"""Training windows in memory, without their filling. W windows, E inputs of them all, L of the longest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Windows(NamedTuple):
    """Window w holds the inputs `offset_W1[w] : offset_W1[w + 1]` of each flat array.

    | examples row                          | offset_W1 | item_E  | target_E |
    |---------------------------------------|-----------|---------|----------|
    | length 2, items 7 9 0, targets 9 4 0  | 0         | 7 9     | 9 4      |
    | length 1, items 4 0 0, targets 7 0 0  | 2 3       | 4       | 7        |
    """

    example_id_W: Array
    offset_W1: Array
    item_E: Array
    event_type_E: Array
    session_end_E: Array
    target_E: Array

    @property
    def length_W(self) -> Array:
        return np.diff(self.offset_W1)

    def take(self, index_N: Array) -> "Windows":
        """These windows, in this order."""
        length_N = self.length_W[index_N]
        offset_N1 = np.concatenate([[0], np.cumsum(length_N)])
        within_E = np.arange(offset_N1[-1]) - np.repeat(offset_N1[:-1], length_N)
        event_E = np.repeat(self.offset_W1[:-1][index_N], length_N) + within_E
        return Windows(self.example_id_W[index_N], offset_N1, *(flat[event_E] for flat in self[2:]))


def pack(
    example_id_W: Array, length_W: Array, item_WL: Array, event_type_WL: Array,
    session_end_WL: Array, target_WL: Array,
) -> Windows:  # fmt: skip
    """Columns of the table examples, as read, without the filling."""
    is_input_WL = np.arange(item_WL.shape[1]) < length_W[:, None]
    offset_W1 = np.concatenate([[0], np.cumsum(length_W, dtype=np.int64)])
    return Windows(
        example_id_W,
        offset_W1,
        item_WL[is_input_WL].astype(np.int32, copy=False),
        event_type_WL[is_input_WL].astype(np.int8),
        session_end_WL[is_input_WL].astype(np.int8),
        target_WL[is_input_WL].astype(np.int32, copy=False),
    )


def join(parts: Sequence[Windows]) -> Windows:
    """One after the other; no parts are no windows."""
    if not parts:
        empty = np.zeros(0, np.int32)
        return Windows(np.zeros(0, np.int64), np.zeros(1, np.int64), empty, empty, empty, empty)
    length_W = np.concatenate([part.length_W for part in parts])
    flat = (np.concatenate([part[place] for part in parts]) for place in range(2, len(parts[0])))
    ids = np.concatenate([part.example_id_W for part in parts])
    return Windows(ids, np.concatenate([[0], np.cumsum(length_W, dtype=np.int64)]), *flat)
