"""The exact K best where a model also points at the history: the best inner products outside it, and the history.

B users, L inputs, D width, I items, K places, C candidates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.model import Question
from nextaisle.model.pointer import logit_by_item
from nextaisle.scoring.topk import top_k

Array = npt.NDArray[Any]


def best_items(
    question: Question, vector_ID: Tensor, k: int, excluded: Sequence[Array] | None,
    tie_key_I: Array, excluded_everywhere_E: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """As `top_k`, for the scores of `question`: inner products, and what the pointer gives to items of the history.

    | inner products of 1, 2, 3 | history, weights | scores           | k | items |
    |---------------------------|------------------|------------------|---|-------|
    | 0  1  2                   | 1, log 20        | log(20)  1  2    | 2 | 1 3   |
    | 0  1  2                   | 3, log 2         | 0  1  log(2)     | 2 | 2 3   |
    """
    if question.item_BL.shape[1] == 0:
        return top_k(question.state_BD, vector_ID, k, excluded, tie_key_I, excluded_everywhere_E)
    repeated_BL = question.item_BL.numpy()
    hidden = [np.append(history, excluded[user]) if excluded else history for user, history in enumerate(repeated_BL)]
    index_BK, score_BK = top_k(question.state_BD, vector_ID, k, hidden, tie_key_I, excluded_everywhere_E)
    # In double precision rounded to single, as top_k scores.
    repeated_score_BL = logit_by_item(question.item_BL, question.logit_BL.double()).float().numpy()
    is_shown_BL = _is_shown(repeated_BL, excluded, excluded_everywhere_E)
    repeated_score_BL[~is_shown_BL] = -np.inf
    index_BC = np.concatenate([np.where(is_shown_BL, repeated_BL, PADDING_INDEX), index_BK], axis=1)
    score_BC = np.concatenate([repeated_score_BL, score_BK], axis=1)
    return _best_distinct(index_BC.astype(np.int64), score_BC, k, tie_key_I)


def _is_shown(item_BL: Array, excluded: Sequence[Array] | None, everywhere_E: Array | None) -> Array:
    hidden_BL = item_BL == PADDING_INDEX
    if everywhere_E is not None:
        hidden_BL |= np.isin(item_BL, everywhere_E)
    if excluded is not None:
        # One integer per pair of user and item, so that all users are looked up at once.
        width = max(int(item_BL.max(initial=0)), *(int(items.max(initial=0)) for items in excluded), 0) + 1
        rows = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded])
        pairs = rows * width + np.concatenate([*excluded, np.empty(0, np.int64)]).astype(np.int64)
        hidden_BL |= np.isin(np.arange(len(item_BL))[:, None] * width + item_BL, pairs)
    shown_BL: Array = ~hidden_BL
    return shown_BL


def _best_distinct(index_BC: Array, score_BC: Array, k: int, tie_key_I: Array) -> tuple[Array, Array]:
    """Each item once, then the K best, ties by key, then by index."""
    order_BC = np.lexsort((-score_BC, index_BC), axis=1)
    index_BC, score_BC = np.take_along_axis(index_BC, order_BC, 1), np.take_along_axis(score_BC, order_BC, 1)
    is_again_BC = np.zeros(index_BC.shape, bool)
    is_again_BC[:, 1:] = index_BC[:, 1:] == index_BC[:, :-1]
    score_BC = np.where(is_again_BC | (index_BC == PADDING_INDEX), -np.inf, score_BC).astype(np.float32)
    order_BC = np.lexsort((index_BC, tie_key_I[index_BC], -score_BC), axis=1)[:, :k]
    index_BK, score_BK = np.take_along_axis(index_BC, order_BC, 1), np.take_along_axis(score_BC, order_BC, 1)
    return np.where(np.isneginf(score_BK), PADDING_INDEX, index_BK).astype(np.int32), score_BK
