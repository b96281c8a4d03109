"""What every model sees. B sequences, L positions."""

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """Histories, oldest first, filled on the right with 0.

    | item_BL      | event_type_BL | session_end_BL | length_B |
    |--------------|---------------|----------------|----------|
    | 7  9  4  0   | 1  1  6  0    | 0  1  1  0     | 3        |

    session_end is 1 where the event that follows begins another session than the input's: it tells the model whether to
    go on within a visit or to open a new one. The last input of a history that is scored or judged has 1, since a list
    is made for the next visit.
    """

    item_BL: Tensor
    event_type_BL: Tensor
    session_end_BL: Tensor
    length_B: Tensor

    def to(self, device: torch.device) -> "Inputs":
        return Inputs(*(tensor.to(device, non_blocking=True) for tensor in self))
