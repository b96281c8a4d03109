"""The best that any model can reach on synthetic shoppers, computed, not estimated.

Of the next viewed item all that can be known is the last one: with predictability p it is the last item's successor,
else a free choice by popularity q. So item j follows item i with the probability

    P(j | i) = p [j is i's successor] + (1 - p) q(j)

and the best list is that of the k largest. Exact for the views of shoppers (bots are none): `targets = "next"` or
leave-one-out, `target_event_types = ["view"]`, `exclude = "none"`, and at least one view before the target. Purchases
follow views, so they are no such chain.
"""

from dataclasses import dataclass

import numpy as np

from nextaisle.config import Synthetic
from nextaisle.synthetic.catalogue import catalogue
from nextaisle.synthetic.randomness import Floats


@dataclass(frozen=True)
class Ceiling:
    """Means over next views: the share in which the item is among the first k, and NDCG@k."""

    hit_rate: float
    ndcg: float


def ceiling(shoppers: Synthetic, k: int) -> Ceiling:
    """The expectation of both over the last item, which has the chain's stationary distribution.

    | predictability | HR@1                               |
    |----------------|------------------------------------|
    | 0              | share of the most popular item     |
    | 0.8            | 0.8 + 0.2 * mean q of a successor  |
    | 1              | 1                                  |
    """
    popularity = catalogue(shoppers.items, shoppers.seed).popularity
    best = _best_probabilities(popularity, shoppers.predictability, min(k, shoppers.items))
    discounts = 1.0 / np.log2(np.arange(2, best.shape[1] + 2))
    last = stationary_distribution(popularity, shoppers.predictability)
    return Ceiling(float(last @ best.sum(axis=1)), float(last @ (best @ discounts)))


def stationary_distribution(popularity: Floats, predictability: float) -> Floats:
    """How often each place is viewed: pi(i) = p pi(i - 1) + (1 - p) q(i).

    Solved round the cycle: from any start, a round forgets all but p^items of it.
    """
    items = len(popularity)
    if predictability == 1.0:
        return np.full(items, 1.0 / items)
    visits, value = np.empty(items), 0.0
    for turn in range(2):
        for place in range(items):
            value = predictability * value + (1.0 - predictability) * popularity[place]
            visits[place] = value
        if turn == 0:
            # What the first round lacks of the last place comes back after each further round.
            value /= 1.0 - predictability**items
    return visits


def _best_probabilities(popularity: Floats, predictability: float, k: int) -> Floats:
    """For each last item (rows), the k largest probabilities of the next one, the largest first."""
    items = len(popularity)
    head = np.argsort(-popularity, kind="stable")[: k + 1]
    successor = (np.arange(items) + 1) % items
    free = np.tile((1.0 - predictability) * popularity[head], (items, 1))
    # The successor stands for itself once.
    free[head[None, :] == successor[:, None]] = 0.0
    followed = predictability + (1.0 - predictability) * popularity[successor]
    return -np.sort(-np.column_stack([followed, free]), axis=1)[:, :k]
