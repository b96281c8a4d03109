from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
import torch

from nextaisle.contract.tokens import EVENT_TYPE_INDEX
from nextaisle.model import ModelSpec, NextItemModel, encode_histories
from nextaisle.scoring.catalogue import Catalogue
from nextaisle.scoring.histories import Exclude
from nextaisle.scoring.lists import Histories, Lists, Pairs, best_lists, excluded_items
from nextaisle.scoring.packed import ReadyModel

NOBODY_HIDES = Pairs(np.empty(0, np.int64), np.empty(0, np.int32))


def catalogue(items: int, most_popular_first: list[int], hidden: tuple[int, ...] = ()) -> Catalogue:
    """The n-th most popular item was wanted 100 - n times."""
    rank = np.zeros(items + 1, np.int64)
    rank[most_popular_first] = np.arange(1, items + 1)
    ids = pa.array(["", *(f"item {index}" for index in range(1, items + 1))])
    return Catalogue(ids, np.arange(items + 1), np.where(rank, 100 - rank, 0), rank, np.array(hidden, np.int64))


def histories(*users: list[int], event_type: str = "view") -> Histories:
    items = np.array(list(chain(*users)), np.int32)
    offsets = np.cumsum([0, *(len(user) for user in users)])
    return Histories(offsets, items, np.full(len(items), EVENT_TYPE_INDEX[event_type]), np.ones(len(items), bool))


def ready(model: NextItemModel) -> ReadyModel:
    return ReadyModel(model.eval(), model.item_vectors().detach())


def biased(known: int) -> ReadyModel:
    """Scores item i with i."""
    model = NextItemModel(ModelSpec("lstm", 4, 1, 1, 0.0, 3, known))
    with torch.no_grad():
        model.item.weight.zero_()
        model.item_bias.copy_(torch.arange(known + 1.0))
    return ready(model)


def shown(lists: Lists) -> list[list[int]]:
    return lists.index_BK.tolist()


def test_the_model_ranks_what_is_for_sale() -> None:
    lists = best_lists(biased(4), catalogue(4, [1, 2, 3, 4], hidden=(3,)), histories([1]), NOBODY_HIDES, 2)
    assert shown(lists) == [[4, 2]]
    assert lists.score_BK.tolist() == [[4.0, 2.0]]
    assert not lists.is_popular_BK.any()


def test_a_user_of_whose_history_the_model_knows_nothing_gets_what_is_popular() -> None:
    lists = best_lists(biased(2), catalogue(4, [3, 1, 4, 2]), histories([4], []), NOBODY_HIDES, 3)
    assert shown(lists) == [[3, 1, 4], [3, 1, 4]]
    assert lists.score_BK[0].tolist() == [99.0, 98.0, 97.0]
    assert lists.is_popular_BK.all()


def test_where_the_model_runs_out_of_items_popular_ones_follow_and_none_comes_twice() -> None:
    hidden = Pairs(np.array([0, 0]), np.array([2, 4]))
    lists = best_lists(biased(3), catalogue(5, [1, 4, 5, 3, 2]), histories([1]), hidden, 4)
    assert shown(lists) == [[3, 1, 5, 0]]
    assert lists.is_popular_BK.tolist() == [[False, False, True, True]]


@pytest.mark.parametrize(
    ("exclude", "event_type", "expected"),
    [("none", "purchase", []), ("seen", "view", [1, 2, 9]), ("bought", "view", [9]), ("bought", "purchase", [1, 2, 9])],
)
def test_what_is_left_out(exclude: Exclude, event_type: str, expected: list[int]) -> None:
    earlier = Pairs(np.array([1]), np.array([9]))
    pairs = excluded_items(histories([], [1, 2], event_type=event_type), earlier, exclude)
    assert [sorted(items.tolist()) for items in pairs.by_user(2)] == [[], expected]


def test_every_user_gets_the_list_of_being_scored_alone() -> None:
    """Users are encoded with others of like length, and put back in their places."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = NextItemModel(ModelSpec("transformer", 8, 1, 2, 0.0, 5, 30, inputs=("event_type", "session_end")))
    torch.nn.init.normal_(model.item.weight)
    users = [random.integers(1, 31, random.integers(1, 12)).tolist() for _ in range(300)]
    lists = best_lists(ready(model), catalogue(30, list(range(1, 31))), histories(*users), NOBODY_HIDES, 4)
    for user in range(0, 300, 37):
        inputs = encode_histories(*histories(users[user]), 5, 30)
        with torch.inference_mode():
            score = (model.ask(inputs).state_BD @ model.item_vectors().T)[0]
        assert shown(lists)[user] == score.topk(4).indices.tolist()
