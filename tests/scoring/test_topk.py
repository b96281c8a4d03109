from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from nextaisle.scoring import topk
from nextaisle.scoring.topk import top_k

NEVER = -np.inf


def column(*scores: float) -> np.ndarray:
    """Vectors of width 1, so that a state of 1 scores item i with scores[i - 1]; the padding would be best."""
    return np.array([[100.0], *([score] for score in scores)], np.float32)


def ranked(vectors: np.ndarray, k: int, excluded: list[int], ties: list[int]) -> tuple[list[int], list[float]]:
    tie_key = np.array([0, *ties])
    index, score = top_k(np.ones((1, 1), np.float32), vectors, k, [np.array(excluded, np.int64)], tie_key)
    return index[0].tolist(), score[0].astype(np.float64).round(2).tolist()


def by_hand(
    state: np.ndarray, vector: np.ndarray, k: int, excluded: list[np.ndarray], everywhere: np.ndarray, tie: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The whole matrix of scores, sorted."""
    score = (state.astype(np.float64) @ vector.astype(np.float64).T).astype(np.float32)
    score[:, 0] = NEVER
    score[:, everywhere] = NEVER
    for row, items in enumerate(excluded):
        score[row, items] = NEVER
    order = np.stack([np.lexsort((tie, -row))[:k] for row in score])
    best = np.take_along_axis(score, order, axis=1)
    missing = max(0, k - best.shape[1])
    best = np.pad(best, ((0, 0), (0, missing)), constant_values=NEVER)
    return np.where(best == NEVER, 0, np.pad(order, ((0, 0), (0, missing)))), best


def test_the_best_come_first_and_the_padding_never() -> None:
    assert ranked(column(0.5, 0.9, 0.7), 3, [], [1, 2, 3]) == ([2, 3, 1], [0.9, 0.7, 0.5])


def test_equal_scores_are_ordered_by_their_tie_keys_also_at_the_last_place() -> None:
    assert ranked(column(0.5, 0.9, 0.5), 2, [], [8, 4, 7]) == ([2, 3], [0.9, 0.5])


def test_a_list_that_the_catalogue_cannot_fill_ends_in_index_0() -> None:
    assert ranked(column(0.5, 0.9, 0.5), 3, [2, 3], [8, 4, 7]) == ([1, 0, 0], [0.5, NEVER, NEVER])


def test_an_excluded_item_that_the_catalogue_does_not_have_changes_nothing() -> None:
    assert ranked(column(0.5, 0.9), 1, [77], [1, 2]) == ([2], [0.9])


def test_an_empty_catalogue_gives_empty_lists() -> None:
    assert ranked(column(), 2, [], []) == ([0, 0], [NEVER, NEVER])


def test_no_users_give_no_lists() -> None:
    index, score = top_k(np.empty((0, 1), np.float32), column(1.0), 2, [], np.zeros(2))
    assert index.shape == score.shape == (0, 2)


def test_a_vector_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        ranked(column(1.0, float("nan")), 1, [], [1, 2])


def test_a_catalogue_of_equal_items_is_ranked_by_its_tie_keys_alone() -> None:
    tie = np.random.default_rng(1).permutation(20_001)
    index, _ = top_k(np.zeros((3, 4), np.float32), np.ones((20_001, 4), np.float32), 5, None, tie)
    assert (index == np.argsort(tie[1:])[:5] + 1).all()


def test_lists_of_a_large_catalogue_are_those_of_a_full_sort() -> None:
    random = np.random.default_rng(7)
    state, vector = random.standard_normal((300, 16)), random.standard_normal((20_000, 16))
    tie, everywhere = random.permutation(20_000), random.integers(0, 20_000, 50)
    excluded = [random.integers(0, 20_000, random.integers(0, 200)) for _ in state]
    state, vector = state.astype(np.float32), vector.astype(np.float32)
    found = top_k(state, vector, 20, excluded, tie, everywhere)
    expected = by_hand(state, vector, 20, excluded, everywhere, tie)
    assert (found[0] == expected[0]).all()
    np.testing.assert_array_equal(found[1], expected[1])


@examples(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 60), st.integers(1, 9))
def test_lists_are_those_of_a_full_sort_whatever_the_blocks(seed: int, users: int, items: int, k: int) -> None:
    random = np.random.default_rng(seed)
    # Few values make many ties, which small blocks then cut in the middle.
    state = random.integers(-1, 2, (users, 2)).astype(np.float32)
    vector = random.integers(-2, 3, (items, 2)).astype(np.float32)
    tie, everywhere = random.permutation(items), random.integers(0, items, 2)
    excluded = [random.integers(0, items, random.integers(0, 6)) for _ in range(users)]
    with mock.patch.multiple(topk, _USERS_AT_ONCE=4, _ITEMS_AT_ONCE=int(random.integers(1, 30)), _RESCORED_AT_ONCE=3):
        index, score = top_k(state, vector, k, excluded, tie, everywhere)
    expected_index, expected_score = by_hand(state, vector, k, excluded, everywhere, tie)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_array_equal(score, expected_score)
