import math

import numpy as np
import pytest

from nextaisle import overlays
from nextaisle.config import Synthetic
from nextaisle.synthetic.catalogue import catalogue
from nextaisle.synthetic.ceiling import ceiling, stationary_distribution
from nextaisle.synthetic.visits import actions


def shoppers(predictability: float, items: int = 50) -> Synthetic:
    return overlays.load([], [f"synthetic.predictability={predictability}", f"synthetic.items={items}"]).synthetic


def test_on_perfectly_predictable_shoppers_the_ceiling_is_one() -> None:
    best = ceiling(shoppers(1.0), k=10)
    assert (best.hit_rate, best.ndcg) == (pytest.approx(1), pytest.approx(1))


def test_on_unpredictable_shoppers_popularity_is_all_there_is() -> None:
    weights = [1 / rank for rank in range(1, 51)]
    shares = [weight / sum(weights) for weight in weights]
    best = ceiling(shoppers(0.0), k=10)
    assert best.hit_rate == pytest.approx(sum(shares[:10]))
    assert best.ndcg == pytest.approx(sum(share / math.log2(rank + 2) for rank, share in enumerate(shares[:10])))


def test_a_list_as_long_as_the_catalogue_always_hits() -> None:
    assert ceiling(shoppers(0.4), k=1000).hit_rate == pytest.approx(1)


def test_the_chain_spends_its_time_after_popular_items() -> None:
    # pi0 = pi1 / 2 + 1/2 and pi1 = pi0 / 2
    assert stationary_distribution(np.array([1.0, 0.0]), 0.5).tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("predictability", [0.0, 0.05, 0.3, 0.8, 1.0])
def test_who_knows_the_chain_reaches_the_ceiling_exactly(predictability: float) -> None:
    asked = shoppers(predictability)
    last, following = pairs_of_views(asked)
    rank = ranks_by_the_true_probabilities(asked)[last, following]
    assert len(rank) > 100_000
    # Four standard errors of a mean of numbers between 0 and 1.
    tolerance = 2 / math.sqrt(len(rank))
    gain = np.where(rank < 10, 1 / np.log2(rank + 2), 0.0)
    assert (rank == 0).mean() == pytest.approx(ceiling(asked, k=1).hit_rate, abs=tolerance)
    assert gain.mean() == pytest.approx(ceiling(asked, k=10).ndcg, abs=tolerance)


@pytest.mark.parametrize("predictability", [0.0, 0.6, 1.0])
def test_the_first_views_are_distributed_as_all_others(predictability: float) -> None:
    asked = shoppers(predictability, items=10)
    done = actions(np.arange(20_000), asked.model_copy(update={"days": 2}))
    first = np.bincount(done.place[done.nth == 0], minlength=10) / (done.nth == 0).sum()
    expected = stationary_distribution(catalogue(10, asked.seed).popularity, predictability)
    assert first.tolist() == pytest.approx(expected.tolist(), abs=0.02)


def pairs_of_views(asked: Synthetic) -> tuple[np.ndarray, np.ndarray]:
    done = actions(np.arange(2500), asked)
    user, place = done.user[done.kind == 0], done.place[done.kind == 0]
    is_same_user = user[1:] == user[:-1]
    return place[:-1][is_same_user], place[1:][is_same_user]


def ranks_by_the_true_probabilities(asked: Synthetic) -> np.ndarray:
    """Row: the last item; column: the next one; value: its place in the best list, from 0."""
    free = (1 - asked.predictability) * catalogue(asked.items, asked.seed).popularity
    chance = np.tile(free, (asked.items, 1)) + asked.predictability * np.roll(np.eye(asked.items), 1, axis=1)
    return np.argsort(np.argsort(-chance, axis=1, kind="stable"), axis=1)
