"""Which events are targets, and what is known before each. U users, E events of all of them, B cases, T targets.

Arrays in, arrays out; contexts are ranges of E, so cases of one user share their events.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nextaisle.arrays import pair_keys, split_keys
from nextaisle.config import Evaluation
from nextaisle.contract.tokens import EVENT_TYPE_INDEX

Array = npt.NDArray[Any]

# A user with fewer targets is left to training whole, under leave-one-out: build_examples does so, and what the model
# was trained on must not be what it is judged on.
MIN_TARGETS = 3
_EPOCH = date(1970, 1, 1)


def days_since_epoch(day: date) -> int:
    return (day - _EPOCH).days


def target_type_indices(evaluation: Evaluation) -> tuple[int, ...]:
    return tuple(EVENT_TYPE_INDEX[name] for name in evaluation.target_event_types)


class Histories(NamedTuple):
    """User u's events, oldest first, are `offset_U1[u] : offset_U1[u + 1]` of the arrays [E]."""

    offset_U1: Array
    item_E: Array
    event_type_E: Array
    is_session_start_E: Array
    day_E: Array


class Cases(NamedTuple):
    """Case b: of user_B[b] the events begin_B[b] : end_B[b] are known; target_T[offset_B1[b] : ...] is asked for."""

    user_B: Array
    begin_B: Array
    end_B: Array
    offset_B1: Array
    target_T: Array


@dataclass(frozen=True)
class Protocol:
    """How targets are chosen, with the days resolved; `last_known` and `last_test` are days since 1970-01-01.

    | name          | a case is                                | its context            | its targets                  |
    |---------------|------------------------------------------|------------------------|------------------------------|
    | leave-one-out | a user with at least 3 such events       | all before the target  | the last event that counts   |
    | time-next     | an event that counts, after last_known   | all before it          | itself                       |
    | time-window   | a user with such an event                | all through last_known | the set of items of those    |

    An event counts if its type is one of target_types. Of a context only the latest max_context events are seen.
    """

    name: str
    last_known: int
    last_test: int
    target_types: tuple[int, ...]
    max_context: int

    @classmethod
    def of(cls, evaluation: Evaluation, as_of: date) -> "Protocol":
        cuts = evaluation.cuts(as_of)
        name = "leave-one-out" if evaluation.protocol == "leave-one-out" else f"time-{evaluation.targets}"
        days = days_since_epoch(cuts.last_validation), days_since_epoch(cuts.last_test)
        return cls(name, *days, target_type_indices(evaluation), evaluation.max_context)


def find_cases(histories: Histories, protocol: Protocol) -> Cases:
    """All cases of these users, in their order."""
    user_E = np.repeat(np.arange(len(histories.offset_U1) - 1), np.diff(histories.offset_U1))
    is_counted_E = np.isin(histories.event_type_E, protocol.target_types)
    if protocol.name == "leave-one-out":
        return _single_targets(histories, user_E, _last_of_user(user_E, is_counted_E), protocol)
    in_test_E = is_counted_E & (histories.day_E > protocol.last_known) & (histories.day_E <= protocol.last_test)
    if protocol.name == "time-next":
        return _single_targets(histories, user_E, np.flatnonzero(in_test_E), protocol)
    return _windows(histories, user_E, in_test_E, protocol)


def _last_of_user(user_E: Array, is_counted_E: Array) -> Array:
    """Places of each user's last event that counts, where the user has enough of them."""
    place_C = np.flatnonzero(is_counted_E)
    _, first_U, count_U = np.unique(user_E[place_C], return_index=True, return_counts=True)
    place_B: Array = place_C[(first_U + count_U - 1)[count_U >= MIN_TARGETS]]
    return place_B


def _single_targets(histories: Histories, user_E: Array, place_B: Array, protocol: Protocol) -> Cases:
    user_B = user_E[place_B]
    begin_B = np.maximum(histories.offset_U1[user_B], place_B - protocol.max_context)
    return Cases(user_B, begin_B, place_B, np.arange(len(place_B) + 1), histories.item_E[place_B])


def _windows(histories: Histories, user_E: Array, in_test_E: Array, protocol: Protocol) -> Cases:
    user_T, target_T = split_keys(np.unique(pair_keys(user_E[in_test_E], histories.item_E[in_test_E])))
    user_B, first_B = np.unique(user_T, return_index=True)
    known_before_E1 = np.concatenate([[0], np.cumsum(histories.day_E <= protocol.last_known)])
    start_B, stop_B = histories.offset_U1[user_B], histories.offset_U1[user_B + 1]
    end_B = start_B + known_before_E1[stop_B] - known_before_E1[start_B]
    begin_B = np.maximum(start_B, end_B - protocol.max_context)
    return Cases(user_B, begin_B, end_B, np.append(first_B, len(user_T)), target_T)
