"""Which items a batch's targets are held against. I items with the padding at 0, N negatives."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]

Sampling = Literal["uniform", "popularity", "mixed"]


class NegativeSampler:
    """Draws items with replacement, from the counts of the training targets.

    | sampling   | chance of item i                  |
    |------------|-----------------------------------|
    | uniform    | 1 / items                         |
    | popularity | (count_i + 1) / (sum + items)     |
    | mixed      | the mean of the two               |

    The 1 keeps items without a training target possible, and log q finite.
    """

    def __init__(self, target_counts_I: Array, sampling: Sampling) -> None:
        smoothed = target_counts_I.astype(np.float64) + 1.0
        smoothed[0] = 0.0
        popular, uniform = smoothed / smoothed.sum(), (smoothed > 0) / (len(smoothed) - 1)
        chances = {"uniform": uniform, "popularity": popular, "mixed": (uniform + popular) / 2}[sampling]
        self._cumulative = np.cumsum(chances)
        self.log_q_I = torch.from_numpy(np.log(np.maximum(chances, 1e-30))).float()

    def draw(self, count: int, random: np.random.Generator) -> Tensor:
        """negative_N: item indices, never the padding."""
        drawn = np.searchsorted(self._cumulative, random.random(count) * self._cumulative[-1], side="right")
        return torch.from_numpy(np.clip(drawn, 1, len(self._cumulative) - 1))
