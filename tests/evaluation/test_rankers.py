import numpy as np

from nextaisle.arrays import padded, ranges
from nextaisle.evaluation.contexts import Contexts
from nextaisle.evaluation.rankers import Links, fill, followers_of_last, own_frequent, similar_to_recent

VIEW, PURCHASE = 1, 6
POPULAR = np.array([1, 3, 2, 4])


def contexts(*cases: list[int], event_type: int = PURCHASE) -> Contexts:
    items = np.array([item for case in cases for item in case], np.int32)
    offset = np.concatenate([[0], np.cumsum([len(case) for case in cases])])
    return Contexts(offset, items, np.full(len(items), event_type), np.ones(len(items), np.bool_))


def links(**of_item: list[tuple[int, float]]) -> Links:
    """links(i1=[(2, .5)]): item 1 leads to item 2 with weight .5; of 9 items."""
    rows = [of_item.get(f"i{item}", []) for item in range(10)]
    flat = [link for row in rows for link in row]
    offset = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Links(offset, np.array([item for item, _ in flat], np.int32), np.array([weight for _, weight in flat]))


def test_a_list_too_short_is_filled_with_what_is_popular_each_item_once() -> None:
    found = fill(np.array([[7, 3, 0]]), POPULAR, contexts([]), 4, hides_seen=False)
    assert found.tolist() == [[7, 3, 1, 2]]


def test_seen_items_are_hidden_among_candidates_and_popular_ones_and_only_from_who_saw_them() -> None:
    found = fill(np.array([[7, 3, 0], [7, 3, 0]]), POPULAR, contexts([3, 1], [7]), 3, hides_seen=True)
    assert found.tolist() == [[7, 2, 4], [3, 1, 2]]


def test_a_catalogue_that_is_too_small_leaves_zeros() -> None:
    found = fill(np.zeros((1, 0), np.int32), POPULAR, contexts([3, 1, 4]), 3, hides_seen=True)
    assert found.tolist() == [[2, 0, 0]]


def test_many_hidden_candidates_do_not_shorten_the_list() -> None:
    many = np.arange(1, 9)[None, :]
    assert fill(many, POPULAR, contexts([1, 2, 3, 4, 5, 6]), 2, hides_seen=True).tolist() == [[7, 8]]


def test_own_items_come_by_count_and_of_equals_the_latest_first() -> None:
    found = own_frequent(contexts([5, 6, 5, 8, 6, 9], [], [4]), (PURCHASE,))
    assert found.tolist() == [[6, 5, 9, 8], [0, 0, 0, 0], [4, 0, 0, 0]]


def test_items_only_viewed_are_not_among_the_own_ones_where_purchases_count() -> None:
    assert own_frequent(contexts([5, 6], event_type=VIEW), (PURCHASE,)).shape == (1, 0)


def test_a_markov_list_is_that_of_the_latest_item_alone() -> None:
    followers = links(i1=[(2, 9.0), (3, 1.0)], i4=[(5, 1.0)])
    assert followers_of_last(contexts([4, 1], [], [1, 4], [9]), followers).tolist() == [[2, 3], [0, 0], [5, 0], [0, 0]]


def test_item_knn_adds_up_cosines_over_distinct_items_and_breaks_ties_by_popularity() -> None:
    neighbours = links(i1=[(5, 0.5), (6, 0.4)], i2=[(6, 0.3), (7, 0.5)])
    rank = np.array([9, 0, 1, 2, 3, 8, 4, 5, 6, 7])
    found = similar_to_recent(contexts([1, 2, 1], [2]), neighbours, rank)
    assert found.tolist() == [[6, 7, 5], [7, 6, 0]]


def test_an_item_that_the_vocabulary_lacks_has_no_neighbours() -> None:
    neighbours = links(i1=[(5, 0.5)])
    assert similar_to_recent(contexts([0, 1]), neighbours, np.arange(10)).tolist() == [[5]]


def test_ranges_are_written_out_and_empty_ones_leave_no_trace() -> None:
    place, offset = ranges(np.array([3, 7, 10]), np.array([5, 7, 11]))
    assert (place.tolist(), offset.tolist()) == ([3, 4, 10], [0, 2, 2, 3])


def test_pairs_are_padded_on_the_right_by_row() -> None:
    assert padded(np.array([0, 0, 2]), np.array([7, 8, 9]), 3).tolist() == [[7, 8], [0, 0], [9, 0]]
