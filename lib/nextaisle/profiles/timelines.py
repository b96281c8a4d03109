"""What adds up over a user's days, for many users at once, without a loop.

N places: users one after the other, each with their days in order, the seed (what an earlier build knew) first.
F facts: how often a key came at a place. P pairs of a user and a key.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nextaisle.arrays import gathered, run_starts

Array = npt.NDArray[Any]


class Timeline(NamedTuple):
    """The places. Of two users, the first with a seed:

    | user_N    | 0    | 0 | 0 | 1 |
    | day_N     | 4    | 7 | 9 | 7 |
    | is_seed_N | True | - | - | - |
    | begin_N   | 0    | 0 | 0 | 3 | the user's first place
    | end_N     | 3    | 3 | 3 | 4 | behind the user's last place
    """

    user_N: Array
    day_N: Array
    is_seed_N: Array
    begin_N: Array
    end_N: Array


class Facts(NamedTuple):
    """Facts ordered by pair, then place. total_F adds up within the pair; until_F is where the pair's next fact lies.

    first_F is the place of the pair's first fact.
    """

    place_F: Array
    key_F: Array
    count_F: Array
    rank_F: Array
    total_F: Array
    first_F: Array
    until_F: Array


def timeline_of(user_N: Array, day_N: Array, is_seed_N: Array) -> Timeline:
    starts = run_starts(user_N)
    lengths = np.diff(starts, append=len(user_N))
    begin_N = np.repeat(starts, lengths)
    return Timeline(user_N, day_N, is_seed_N, begin_N, begin_N + np.repeat(lengths, lengths))


def running(value_N: Array, times: Timeline) -> Array:
    """Sums through each place, of one user; also of several columns, [N, K]."""
    total_N = np.cumsum(value_N, axis=0)
    through_N: Array = total_N - (total_N - value_N)[times.begin_N]
    return through_N


def facts_of(place_F: Array, key_F: Array, count_F: Array, rank_F: Array, times: Timeline, most: int) -> Facts:
    """Facts of the first `most` keys of each user: by their first place, there by rank.

    A seed's keys are the first ones of its user already, so what is kept does not depend on where a build began.
    """
    pair_F = times.user_N[place_F] * (int(key_F.max(initial=0)) + 1) + key_F
    order = np.lexsort([place_F, pair_F])
    place_F, key_F, count_F, rank_F, pair_F = (each[order] for each in (place_F, key_F, count_F, rank_F, pair_F))
    starts = run_starts(pair_F)
    lengths = np.diff(starts, append=len(pair_F))
    is_kept_F = np.repeat(_is_among_first(place_F[starts], rank_F[starts], times, most), lengths)
    first_F = np.repeat(place_F[starts], lengths)
    total_F = np.cumsum(count_F)
    total_F -= np.repeat((total_F - count_F)[starts], lengths)
    until_F = np.append(place_F[1:], 0)
    is_last_F = np.append(pair_F[1:] != pair_F[:-1], True)[: len(pair_F)]
    until_F = np.where(is_last_F, times.end_N[place_F], until_F[: len(pair_F)])
    return Facts(*(each[is_kept_F] for each in (place_F, key_F, count_F, rank_F, total_F, first_F, until_F)))


def known_keys(facts: Facts, times: Timeline) -> tuple[Array, Array, Array]:
    """For each place that is no seed every key the user has had: place, key, total. The most first, then by key.

    A fact stands for its pair from its own place until the pair's next one:

    | facts of one user   |      | known at place 1 | at place 2 |
    |---------------------|      |------------------|------------|
    | place 1, key a: 2   |      | a 2, b 1         | b 4, a 2   |
    | place 1, key b: 1   |  ->  |                  |            |
    | place 2, key b: 3   |      |                  |            |
    """
    since_F = facts.place_F + times.is_seed_N[facts.place_F]
    place_K = gathered(since_F, facts.until_F)
    fact_K = np.repeat(np.arange(len(since_F)), facts.until_F - since_F)
    key_K, total_K = facts.key_F[fact_K], facts.total_F[fact_K]
    order = np.lexsort([key_K, -total_K, place_K])
    return place_K[order], key_K[order], total_K[order]


def counted(place_E: Array, key_E: Array, count_E: Array) -> tuple[Array, Array, Array]:
    """Equal (place, key) once, with the sum of their counts, ordered by both."""
    pair, where = np.unique(place_E * (int(key_E.max(initial=0)) + 1) + key_E, return_inverse=True)
    count = np.zeros(len(pair), np.int64)
    np.add.at(count, where, count_E)
    width = int(key_E.max(initial=0)) + 1
    return pair // width, pair % width, count


def within(place_K: Array, most: int) -> Array:
    """Whether an entry is among the first `most` of its place; entries of a place stand together."""
    starts = run_starts(place_K)
    lengths = np.diff(starts, append=len(place_K))
    is_within_K: Array = np.arange(len(place_K)) - np.repeat(starts, lengths) < most
    return is_within_K


def _is_among_first(place_P: Array, rank_P: Array, times: Timeline, most: int) -> Array:
    """Whether a pair is among its user's first `most`."""
    order = np.lexsort([rank_P, place_P])  # places are ordered by user
    is_kept_P = np.zeros(len(place_P), bool)
    is_kept_P[order] = within(times.begin_N[place_P[order]], most)
    return is_kept_P
