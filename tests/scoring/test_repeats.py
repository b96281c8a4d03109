import math

import numpy as np
import pytest
import torch

from nextaisle.model import Question
from nextaisle.model.pointer import put_repeats
from nextaisle.scoring.repeats import best_items


def question(history: list[int], weights: list[float]) -> Question:
    """One user whose inner products are those of the items' one-column vectors."""
    return Question(torch.ones(1, 1), torch.tensor([history]), torch.tensor([weights]))


VECTORS = torch.tensor([[-1e9], [0.0], [1.0], [2.0]])
KEYS = np.arange(4)


def test_an_item_of_the_history_overtakes_those_with_a_higher_product() -> None:
    found, scores = best_items(question([1], [math.log(20)]), VECTORS, 2, None, KEYS)
    assert found.tolist() == [[1, 3]]
    assert scores[0].tolist() == pytest.approx([math.log(20), 2.0])


def test_an_item_of_the_history_may_fall_below_those_with_a_lower_product() -> None:
    found, scores = best_items(question([3], [-1.0]), VECTORS, 3, None, KEYS)
    assert found.tolist() == [[2, 1, 3]]
    assert scores[0].tolist() == pytest.approx([1.0, 0.0, -1.0])


def test_an_item_that_stands_twice_in_the_history_is_listed_once_with_both_weights() -> None:
    found, scores = best_items(question([2, 2, 0], [0.0, 0.0, -math.inf]), VECTORS, 3, None, KEYS)
    assert found.tolist() == [[3, 2, 1]]
    assert scores[0, 1] == pytest.approx(math.log(2))


def test_excluded_items_do_not_come_back_through_the_history() -> None:
    asked = question([1, 3], [5.0, 5.0])
    assert best_items(asked, VECTORS, 3, [np.array([1])], KEYS)[0].tolist() == [[3, 2, 0]]
    assert best_items(asked, VECTORS, 3, None, KEYS, np.array([3]))[0].tolist() == [[1, 2, 0]]


def test_the_best_are_those_of_all_scores_sorted() -> None:
    random = np.random.default_rng(1)
    users, items, length, k = 50, 200, 12, 7
    vectors = torch.from_numpy(random.normal(size=(items, 5)).astype(np.float32))
    vectors[0] = 0.0
    history = torch.from_numpy(random.integers(0, items, (users, length)))
    weights = torch.from_numpy(random.normal(size=(users, length)).astype(np.float32))
    weights = weights.masked_fill(history == 0, -math.inf)
    state = torch.from_numpy(random.normal(size=(users, 5)).astype(np.float32))
    scores = put_repeats(state.double() @ vectors.double().T, history, weights.double())
    scores[:, 0] = -math.inf
    excluded = [random.integers(1, items, 20) for _ in range(users)]
    for user, hidden in enumerate(excluded):
        scores[user, hidden] = -math.inf
    expected = scores.topk(k).indices.numpy()
    found, _ = best_items(Question(state, history, weights), vectors, k, excluded, np.arange(items))
    assert (found == expected).all()
