"""What is known before each case, flattened. B cases, E events of all contexts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextaisle.arrays import ranges
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
