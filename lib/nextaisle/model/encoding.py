"""Histories to inputs, the same for scoring and evaluation. B histories, E events of them all, L inputs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nextaisle.model.inputs import Inputs

Array = npt.NDArray[Any]


def encode_histories(
    offsets_B1: Array, item_index_E: Array, event_type_index_E: Array, is_session_start_E: Array,
    length: int, item_count: int,
) -> Inputs:  # fmt: skip
    """The last `length` events of each history whose items the model knows, as it saw them when it was trained.

    History b is `offsets_B1[b] : offsets_B1[b + 1]` of the flat arrays, oldest first. An item is known from 1 to
    `item_count`; others are left out, as if the events had not been. An event ends its session where the next one that
    is kept belongs to another: where that one starts a session, or one that was left out between them did.

    | item_index        | is_session_start | item_BL (length 3, item_count 90) | session_end_BL |
    |-------------------|------------------|-----------------------------------|----------------|
    | 5  7  99  8  9    | 1  0  1   0  0   | 7 8 9                             | 1 0 1          |
    | (none)            |                  | 0 0 0                             | 0 0 0          |

    L is the longest history's, and at least 1; a history without a known item has length_B 0.
    """
    session_E = np.cumsum(is_session_start_E.astype(np.int64))
    is_known_E = (item_index_E >= 1) & (item_index_E <= item_count)
    known_before_E1 = np.concatenate([[0], np.cumsum(is_known_E)])
    end_B, begin_B = known_before_E1[offsets_B1[1:]], known_before_E1[offsets_B1[:-1]]
    length_B = np.minimum(end_B - begin_B, length)
    place_L = np.arange(max(1, int(length_B.max(initial=1))))
    is_input_BL = place_L < length_B[:, None]
    event_K = np.flatnonzero(is_known_E)
    kept_BL = (end_B - length_B)[:, None] + place_L
    event_BL = event_K[np.where(is_input_BL, kept_BL, 0)] if len(event_K) else np.zeros(is_input_BL.shape, np.int64)
    is_last_BL = place_L == length_B[:, None] - 1
    following_BL = np.concatenate([event_BL[:, 1:], event_BL[:, -1:]], axis=1)
    session_end_BL = is_last_BL | (session_E[following_BL] != session_E[event_BL]) if len(event_K) else is_last_BL
    return Inputs(
        _filled(item_index_E, event_BL, is_input_BL),
        _filled(event_type_index_E, event_BL, is_input_BL),
        torch.from_numpy((session_end_BL & is_input_BL).astype(np.int64)),
        torch.from_numpy(length_B.astype(np.int64)),
    )


def _filled(flat_E: Array, event_BL: Array, is_input_BL: Array) -> torch.Tensor:
    """The flat array's entries at `event_BL`, and 0 where there is no input."""
    if len(flat_E) == 0:
        return torch.zeros(is_input_BL.shape, dtype=torch.int64)
    return torch.from_numpy(np.where(is_input_BL, flat_E[event_BL], 0).astype(np.int64))
