"""Trained models as rankers inside Spark's workers. B cases, C cases ranked at once, I items, K ranks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.evaluation.contexts import Contexts
from nextaisle.evaluation.rankers import Baselines, fill
from nextaisle.model import encode_histories
from nextaisle.scoring.packed import ReadyModel
from nextaisle.scoring.repeats import best_items

Array = npt.NDArray[Any]

_RANKED_AT_ONCE = 256


def rank_model(ready: ReadyModel, baselines: Baselines, contexts: Contexts, k: int, hides_seen: bool) -> Array:
    """The model's lists [B, K] over every item that it knows and that occurred before the test.

    Where it knows nothing of a context, or runs out of items, what is popular takes the places.
    """
    index_BK = np.full((len(contexts.offset_B1) - 1, k), PADDING_INDEX, np.int32)
    for start in range(0, len(index_BK), _RANKED_AT_ONCE):
        rows = slice(start, start + _RANKED_AT_ONCE)
        index_BK[rows] = _ranked(ready, baselines, contexts, contexts.offset_B1[start : rows.stop + 1], k, hides_seen)
    return fill(index_BK, baselines.popular_P, contexts, k, hides_seen)


def _ranked(
    ready: ReadyModel, baselines: Baselines, contexts: Contexts, offset_C1: Array, k: int, hides_seen: bool
) -> Array:
    """index_CK of the cases between these offsets; nothing where the model knows no item of the context."""
    model = ready.model
    events = slice(offset_C1[0], offset_C1[-1])
    item_E = contexts.item_E[events]
    inputs = encode_histories(
        offset_C1 - offset_C1[0], item_E, contexts.event_type_E[events], contexts.is_session_start_E[events],
        model.spec.length, model.spec.item_count,
    )  # fmt: skip
    seen = np.split(item_E, offset_C1[1:-1] - offset_C1[0]) if hides_seen else None
    with torch.inference_mode():
        question = model.ask(inputs)
    index_CK, _ = best_items(question, ready.vector_ID, k, seen, baselines.tie_key_I, baselines.unseen_E)
    index_CK[inputs.length_B.numpy() == 0] = PADDING_INDEX
    return index_CK
