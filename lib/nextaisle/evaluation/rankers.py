"""The baselines' lists: arrays in, arrays out. B cases, C candidates, P popular items, K ranks, I items, L links.

Every ranker orders its candidates; `fill` then takes away what may not be shown and adds what is popular.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextaisle.arrays import padded, pair_keys, ranges, split_keys
from nextaisle.evaluation.contexts import Contexts

Array = npt.NDArray[Any]

POPULAR, POPULAR_7_DAYS, OWN_FREQUENT, MARKOV, ITEM_KNN = (
    "popular", "popular_7_days", "own_frequent", "markov", "item_knn",
)  # fmt: skip
# Item-kNN looks at as many of a user's latest events: older ones say little of what comes next and cost the same.
KNN_EVENTS = 100
# Groups of items of like popularity, each with as many events, for the picture of what is recommended.
GROUPS = 10


@dataclass(frozen=True)
class Links:
    """Item i leads to `item_L[offset_I1[i] : offset_I1[i + 1]]`, strongest first, with those weights."""

    offset_I1: Array
    item_L: Array
    weight_L: Array


@dataclass(frozen=True)
class Baselines:
    """All that the part before the test tells of the items.

    The popular items stand best first; popularity_rank_I has one rank per item; unseen_E are items without an event,
    tie_key_I hashes of item ids; group_I is 1 to GROUPS, from the most popular items to the least, 0 for never chosen.
    """

    popular_P: Array
    popular_7_days_P: Array | None
    popularity_rank_I: Array
    followers: Links
    neighbours: Links
    target_types: tuple[int, ...]
    unseen_E: Array
    tie_key_I: Array
    group_I: Array


def rank_baselines(baselines: Baselines, contexts: Contexts, k: int, hides_seen: bool) -> dict[str, Array]:
    """Each baseline's lists [B, K], in which 0 stands for no item."""
    nothing = np.zeros((contexts.count, 0), np.int32)
    candidates = {
        POPULAR: nothing,
        OWN_FREQUENT: own_frequent(contexts, baselines.target_types),
        MARKOV: followers_of_last(contexts, baselines.followers),
        ITEM_KNN: similar_to_recent(contexts, baselines.neighbours, baselines.popularity_rank_I),
    }
    if baselines.popular_7_days_P is not None:
        enough = k + _most_seen(contexts, hides_seen)
        candidates[POPULAR_7_DAYS] = np.tile(baselines.popular_7_days_P[:enough], (contexts.count, 1))
    return {name: fill(found, baselines.popular_P, contexts, k, hides_seen) for name, found in candidates.items()}


def fill(candidate_BC: Array, popular_P: Array, contexts: Contexts, k: int, hides_seen: bool) -> Array:
    """The first K of the candidates and then of what is popular, each item once, none that may not be shown.

    | candidates | popular | seen, if hidden | k | list  |
    |------------|---------|-----------------|---|-------|
    | 7 3 0      | 1 3 2   | -               | 4 | 7 3 1 2 |
    | 7 3 0      | 1 3 2   | 3 1             | 4 | 7 2 0 0 |
    """
    enough = k + _most_seen(contexts, hides_seen)
    candidate_BC = candidate_BC[:, :enough]  # those beyond are never reached
    enough += candidate_BC.shape[1]
    popular_BP = np.broadcast_to(popular_P[:enough], (len(candidate_BC), len(popular_P[:enough])))
    row_B1 = np.arange(len(candidate_BC))[:, None]
    key_BP = pair_keys(row_B1, popular_BP)
    is_shown = np.concatenate([candidate_BC > 0, ~np.isin(key_BP, pair_keys(row_B1, candidate_BC))], axis=1)
    item = np.concatenate([candidate_BC, popular_BP], axis=1)
    if hides_seen:
        is_shown &= ~np.isin(pair_keys(row_B1, item), pair_keys(contexts.row_E, contexts.item_E))
    return _first_shown(item, is_shown, k)


def own_frequent(contexts: Contexts, target_types: tuple[int, ...]) -> Array:
    """The user's items by how often they were targets before; of equals the latest first. Ties cannot remain.

    `G-TopFreq` of next-basket papers (Hu et al. 2020): strong wherever people buy the same things again.
    """
    place_N = np.flatnonzero(np.isin(contexts.event_type_E, target_types) & (contexts.item_E > 0))
    key_N = pair_keys(contexts.row_E[place_N], contexts.item_E[place_N])
    key_S, last_S, count_S = np.unique(key_N[::-1], return_index=True, return_counts=True)
    row_S, item_S = split_keys(key_S)
    order = np.lexsort([last_S, -count_S, row_S])  # reversed above: the smallest place is the latest
    return padded(row_S[order], item_S[order], contexts.count)


def followers_of_last(contexts: Contexts, followers: Links) -> Array:
    """A Markov chain of first order: what most often came right after the user's latest item."""
    row_B = np.flatnonzero(np.diff(contexts.offset_B1) > 0)
    last_B = contexts.item_E[contexts.offset_B1[row_B + 1] - 1]
    link_S, offset = ranges(followers.offset_I1[last_B], followers.offset_I1[last_B + 1])
    return padded(np.repeat(row_B, np.diff(offset)), followers.item_L[link_S], contexts.count)


def similar_to_recent(contexts: Contexts, neighbours: Links, popularity_rank_I: Array) -> Array:
    """Items by the sum of their cosines to each distinct item of the latest KNN_EVENTS events (Sarwar et al. 2001)."""
    begin_B = np.maximum(contexts.offset_B1[:-1], contexts.offset_B1[1:] - KNN_EVENTS)
    recent_N, offset = ranges(begin_B, contexts.offset_B1[1:])
    row_N = np.repeat(np.arange(contexts.count), np.diff(offset))
    row_S, item_S = split_keys(np.unique(pair_keys(row_N, contexts.item_E[recent_N])))
    link_M, offset = ranges(neighbours.offset_I1[item_S], neighbours.offset_I1[item_S + 1])
    key_M = pair_keys(np.repeat(row_S, np.diff(offset)), neighbours.item_L[link_M])
    key_S, pair_M = np.unique(key_M, return_inverse=True)
    score_S = np.bincount(pair_M, neighbours.weight_L[link_M], minlength=len(key_S))
    row_S, item_S = split_keys(key_S)
    order = np.lexsort([popularity_rank_I[item_S], -score_S, row_S])
    return padded(row_S[order], item_S[order], contexts.count)


def _first_shown(item: Array, is_shown: Array, k: int) -> Array:
    place = np.cumsum(is_shown, axis=1) - 1
    row, column = np.nonzero(is_shown & (place < k))
    index_BK = np.zeros((len(item), k), np.int32)
    index_BK[row, place[row, column]] = item[row, column]
    return index_BK


def _most_seen(contexts: Contexts, hides_seen: bool) -> int:
    """How many items may at most be hidden from one user."""
    return int(np.diff(contexts.offset_B1).max(initial=0)) if hides_seen else 0
