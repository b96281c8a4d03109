"""Windows to batches of like lengths: no time goes into filling. B windows, L inputs of the longest of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nextaisle.feed.windows import Windows
from nextaisle.model.inputs import Inputs

Array = npt.NDArray[Any]

# Batches' worth of windows that are sorted by length together: enough that lengths within a batch are alike, few enough
# that most batches of an epoch differ from the last epoch's in more than their order.
POOL_BATCHES = 32


class Batch(NamedTuple):
    """Windows side by side; weight_B is 0 for rows that are there only so that every rank has a batch."""

    inputs: Inputs
    target_BL: Tensor
    weight_B: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.inputs.to(device), self.target_BL.to(device), self.weight_B.to(device))


def cut_batches(windows: Windows, batch_positions: int, span: int, random: np.random.Generator) -> Iterator[Batch]:
    """Every window once: shuffled, pooled, sorted by length in the pool, cut to `batch_positions`, batches shuffled.

    `batch_positions` counts what is encoded, of a window at most `span` inputs, and the filling too: the encoder's work
    is alike in all batches. A window longer than that is a batch of its own.
    """
    for chosen_B in _shuffled(windows.length_W, batch_positions, span, random):
        yield to_batch(windows, chosen_B)


def cut_in_order(windows: Windows, batch_positions: int, span: int) -> Iterator[Batch]:
    """Every window once, by length: for judging, where the order does not matter."""
    order_W = np.argsort(windows.length_W, kind="stable")
    for chosen_B in _cut(order_W, np.minimum(windows.length_W, span), batch_positions):
        yield to_batch(windows, chosen_B)


def to_batch(windows: Windows, chosen_B: Array) -> Batch:
    """The chosen windows, filled on the right with 0 to the longest of them."""
    length_B = windows.length_W[chosen_B]
    place_L = np.arange(int(length_B.max(initial=1)))
    is_input_BL = place_L < length_B[:, None]
    event_BL = np.where(is_input_BL, windows.offset_W1[chosen_B][:, None] + place_L, 0)
    item, event_type, session_end, target = (
        torch.from_numpy(np.where(is_input_BL, flat[event_BL], 0).astype(np.int64)) for flat in windows[2:]
    )
    inputs = Inputs(item, event_type, session_end, torch.from_numpy(length_B.astype(np.int64)))
    return Batch(inputs, target, torch.ones(len(chosen_B)))


def filler() -> Batch:
    """A batch that counts nothing, for a rank that has run out."""
    nothing = torch.zeros((1, 1), dtype=torch.int64)
    inputs = Inputs(torch.ones_like(nothing), nothing, nothing, torch.ones(1, dtype=torch.int64))
    return Batch(inputs, nothing, torch.zeros(1))


def _shuffled(length_W: Array, batch_positions: int, span: int, random: np.random.Generator) -> list[Array]:
    order_W, encoded_W = random.permutation(len(length_W)), np.minimum(length_W, span)
    pool_W = np.cumsum(encoded_W[order_W]) // (POOL_BATCHES * batch_positions)
    # Stable, so that windows of one length stay in their random order.
    batches = _cut(order_W[np.lexsort((length_W[order_W], pool_W))], encoded_W, batch_positions)
    return [batches[place] for place in random.permutation(len(batches))]


def _cut(order_W: Array, length_W: Array, batch_positions: int) -> list[Array]:
    """Consecutive windows of `order_W`, as many as fit when all are filled to the longest."""
    batches, start, longest = [], 0, 0
    for place, window in enumerate(order_W.tolist()):
        longest = max(longest, int(length_W[window]))
        if place > start and longest * (place - start + 1) > batch_positions:
            batches.append(order_W[start:place])
            start, longest = place, int(length_W[window])
    return [*batches, order_W[start:]] if len(order_W) > start else batches
