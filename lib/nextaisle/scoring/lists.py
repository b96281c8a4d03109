"""Histories in, lists out. B users, E events of them all, S pairs of a user and an item, I items, K ranks, D width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from nextaisle.contract.tokens import EVENT_TYPE_INDEX, PADDING_INDEX
from nextaisle.model import NextItemModel, Question, encode_histories
from nextaisle.scoring.catalogue import Catalogue
from nextaisle.scoring.histories import BOUGHT, Exclude
from nextaisle.scoring.packed import ReadyModel
from nextaisle.scoring.repeats import best_items
from nextaisle.scoring.topk import top_k

Array = npt.NDArray[Any]

# Users that are encoded together: of like lengths, so that little is computed for filling.
_ENCODED_AT_ONCE = 256


class Histories(NamedTuple):
    """Events of user b: `offset_B1[b] : offset_B1[b + 1]` of the others, oldest first."""

    offset_B1: Array
    item_E: Array
    event_type_E: Array
    is_session_start_E: Array

    def taken(self, user_C: Array) -> "Histories":
        """Those of some users."""
        length_C = np.diff(self.offset_B1)[user_C]
        offset_C1 = np.concatenate([[0], np.cumsum(length_C)])
        event = np.arange(offset_C1[-1]) + np.repeat(self.offset_B1[user_C] - offset_C1[:-1], length_C)
        return Histories(offset_C1, self.item_E[event], self.event_type_E[event], self.is_session_start_E[event])


class Pairs(NamedTuple):
    """A user and an item that the user is not shown."""

    user_S: Array
    item_S: Array

    def by_user(self, users: int) -> list[Array]:
        order = np.argsort(self.user_S, kind="stable")
        return np.split(self.item_S[order], np.cumsum(np.bincount(self.user_S, minlength=users))[:-1])


@dataclass(frozen=True)
class Lists:
    """index_BK is 0 from where a list ends; is_popular_BK marks what the model did not choose."""

    index_BK: Array
    score_BK: Array
    is_popular_BK: Array


def excluded_items(histories: Histories, earlier: Pairs, exclude: Exclude) -> Pairs:
    """What is in the histories, or what was bought in them, and what they have lost already."""
    if exclude == "none":
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int32))
    is_excluded_E = np.ones(len(histories.item_E), bool)
    if exclude == "bought":
        is_excluded_E = histories.event_type_E == EVENT_TYPE_INDEX[BOUGHT]
    user_E = np.repeat(np.arange(len(histories.offset_B1) - 1), np.diff(histories.offset_B1))
    users = np.concatenate([user_E[is_excluded_E], earlier.user_S])
    return Pairs(users, np.concatenate([histories.item_E[is_excluded_E], earlier.item_S]))


def best_lists(ready: ReadyModel, catalogue: Catalogue, histories: Histories, excluded: Pairs, k: int) -> Lists:
    """The model's K best items for each user, then what is popular where it knows no K.

    | history               | list                                                           |
    |-----------------------|----------------------------------------------------------------|
    | items the model knows | its K best                                                     |
    | only newer items      | what is popular                                                |
    | all but 3 excluded    | those 3, then popular items newer than the model, if there are |
    """
    item_count = ready.model.spec.item_count
    hidden = excluded.by_user(len(histories.offset_B1) - 1)
    index_BK = np.full((len(hidden), k), PADDING_INDEX, np.int32)
    score_BK = np.full((len(hidden), k), -np.inf, np.float32)
    for user_C, question in _questions(ready.model, histories):
        index_BK[user_C], score_BK[user_C] = best_items(
            question, ready.vector_ID, k, [hidden[user] for user in user_C], catalogue.tie_key_I[: item_count + 1],
            catalogue.hidden_E,
        )  # fmt: skip
    return _filled(index_BK, score_BK, catalogue, hidden)


def _questions(model: NextItemModel, histories: Histories) -> Iterator[tuple[Array, Question]]:
    """The users of whose histories the model knows an item, some at a time, and what it asks for them."""
    length_B = np.diff(histories.offset_B1)
    order = np.argsort(np.minimum(length_B, model.spec.length), kind="stable")
    for start in range(0, len(order), _ENCODED_AT_ONCE):
        user_C = order[start : start + _ENCODED_AT_ONCE]
        inputs = encode_histories(*histories.taken(user_C), model.spec.length, model.spec.item_count)
        is_known_C = inputs.length_B > 0
        with torch.inference_mode():
            yield user_C[is_known_C.numpy()], Question(*(part[is_known_C] for part in model.ask(inputs)))


def _filled(index_BK: Array, score_BK: Array, catalogue: Catalogue, hidden: list[Array]) -> Lists:
    """Popular items in the places that are left, none of them twice; their score is their recent count."""
    is_empty_BK = index_BK == PADDING_INDEX
    user_C = np.flatnonzero(is_empty_BK.any(axis=1))
    k = index_BK.shape[1]
    taken = [np.append(hidden[user], index_BK[user]) for user in user_C]
    by_rank_I1 = -catalogue.popularity_rank_I[:, None].astype(np.float32)
    popular_CK, _ = top_k(
        np.ones((len(user_C), 1), np.float32), by_rank_I1, k, taken, catalogue.tie_key_I, catalogue.hidden_E
    )
    place_CK = np.arange(k) - (~is_empty_BK[user_C]).sum(axis=1, keepdims=True)
    moved_CK = np.take_along_axis(popular_CK, np.maximum(place_CK, 0), axis=1)
    index_BK[user_C] = np.where(place_CK >= 0, moved_CK, index_BK[user_C])
    score_BK[user_C] = np.where(place_CK >= 0, catalogue.recent_count_I[moved_CK], score_BK[user_C])
    return Lists(index_BK, score_BK, is_empty_BK)
