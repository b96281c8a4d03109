"""Histories to training windows: every event that is to be foreseen is the target of exactly one of them.

E events of whole users, oldest first; W windows of at most L inputs. The n-th input's target is the event after it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextaisle.arrays import Integers, gathered, run_starts
from nextaisle.sequences.splits import NONE


class WindowPlan(NamedTuple):
    """Window w: targets are the events first_target to last_target, inputs those of first_input to last_target - 1."""

    split_W: NDArray[np.int8]
    user_start_W: Integers
    first_input_W: Integers
    first_target_W: Integers
    last_target_W: Integers

    def part(self, start: int, end: int) -> "WindowPlan":
        places = (self.user_start_W, self.first_input_W, self.first_target_W, self.last_target_W)
        user_start_W, first_input_W, first_target_W, last_target_W = (column[start:end] for column in places)
        return WindowPlan(self.split_W[start:end], user_start_W, first_input_W, first_target_W, last_target_W)


class EncodedWindows(NamedTuple):
    """The arrays of table examples, filled on the right with 0."""

    length_W: Integers
    item_WL: NDArray[np.int32]
    event_type_WL: NDArray[np.int32]
    session_end_WL: NDArray[np.int32]
    target_WL: NDArray[np.int32]


def plan_windows(
    user_E: Integers, split_E: NDArray[np.int8], is_target_E: NDArray[np.bool_], length: int, stride: int
) -> WindowPlan:
    """Runs of targets of one user and split, in pieces of `stride` from the run's end; pieces without a target of the
    wanted kind are left out.

    One user, seven events, the last two of them test; length 3, stride 2:

    | event   | 0 1 2 3 4 5 6    |
    |---------|------------------|
    | split   | - t t t t T T    |
    | windows | i x              | inputs 0, target 1 ... the run 1 to 4 is cut from its end: 3 to 4, then 1 to 2
    |         | i i x            | inputs 0 1, targets 1 2
    |         |   i i i x        | inputs 1 2 3, targets 3 4; input 1 is context only
    |         |       i i i x    | inputs 3 4 5, targets 5 6 (test); input 3 is context only
    """
    user_starts = run_starts(user_E)
    split_E = split_E.copy()
    split_E[user_starts] = NONE
    first_R = run_starts(user_E, split_E)
    last_R = np.append(first_R[1:], len(user_E))[: len(first_R)] - 1
    is_run = split_E[first_R] != NONE
    first_R, last_R = first_R[is_run], last_R[is_run]
    pieces_R = -((first_R - last_R - 1) // stride)
    piece_W = gathered(np.zeros_like(pieces_R), pieces_R)
    last_W = np.repeat(last_R, pieces_R) - piece_W * stride
    first_W = np.maximum(np.repeat(first_R, pieces_R), last_W - stride + 1)
    wanted = np.concatenate([[0], np.cumsum(is_target_E)])
    is_kept = wanted[last_W + 1] > wanted[first_W]
    first_W, last_W = first_W[is_kept], last_W[is_kept]
    user_start_W = user_starts[np.searchsorted(user_starts, last_W, side="right") - 1]
    first_input_W = np.maximum(user_start_W, last_W - length)
    return WindowPlan(split_E[last_W], user_start_W, first_input_W, first_W, last_W)


def encode_windows(
    windows: WindowPlan,
    item_E: NDArray[np.int32],
    event_type_E: NDArray[np.int8],
    is_start_E: NDArray[np.bool_],
    is_target_E: NDArray[np.bool_],
    length: int,
) -> EncodedWindows:
    """The windows' arrays; an input whose target is context only, or not of the wanted kind, has target 0."""
    length_W = windows.last_target_W - windows.first_input_W
    input_WL = windows.first_input_W[:, None] + np.arange(length)
    is_input_WL = np.arange(length) < length_W[:, None]
    # Filling points at the last input, which exists and has an event after it.
    input_WL = np.minimum(input_WL, windows.last_target_W[:, None] - 1)
    target_WL = input_WL + 1
    is_target_WL = is_input_WL & (target_WL >= windows.first_target_W[:, None]) & is_target_E[target_WL]
    return EncodedWindows(
        length_W,
        np.where(is_input_WL, item_E[input_WL], 0).astype(np.int32),
        np.where(is_input_WL, event_type_E[input_WL], 0).astype(np.int32),
        (is_input_WL & is_start_E[target_WL]).astype(np.int32),
        np.where(is_target_WL, item_E[target_WL], 0).astype(np.int32),
    )
