"""What shoppers do: whole histories of a block of users at once, as NumPy arrays. No Spark.

A user comes back on some days, in the morning, the afternoon or the evening; in a visit views a run of items, puts a
quarter of them into the cart and buys four in ten of these. The viewed items of a user are one Markov chain through
all visits (see `ceiling.py`). More days, or more users, leave what was there as it is.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from nextaisle.config import Synthetic
from nextaisle.synthetic.catalogue import catalogue
from nextaisle.synthetic.randomness import Booleans, Floats, Integers, uniform

FUNNEL: Final = ("view", "cart", "purchase")
CART_SHARE: Final = 0.25
PURCHASE_SHARE: Final = 0.4
_EVENTS_PER_VIEW: Final = 1 + CART_SHARE + CART_SHARE * PURCHASE_SHARE

_MINUTE: Final = 60_000  # in ms, as all times here
_DAY: Final = 24 * 60 * _MINUTE
# First start of a visit in each part of the day, and how visits fall on these parts.
_SLOT_START: Final = np.array([6, 12, 18]) * 60 * _MINUTE
_SLOT_SHARE: Final = np.array([0.2, 0.3, 0.5])
_START_WIDTH: Final = 180 * _MINUTE
# A visit ends at least half an hour before the next one can start, and before midnight.
_LONGEST_VISIT: Final = 145 * _MINUTE
_VISITS_PER_DAY: Final = 0.6

_RATE, _VISIT, _LENGTH, _START, _JUMP, _CHOICE, _FIRST, _CART, _PURCHASE, _GAP, _QUANTITY = range(1, 12)


@dataclass(frozen=True)
class Views:
    """Items viewed, in the order of users and of time.

    | user | visit | nth | place |
    |------|-------|-----|-------|
    | 7    | 4     | 0   | 12    |   day 1 (visit // 3), afternoon (visit % 3); the user's first view
    | 7    | 4     | 1   | 13    |   the successor
    """

    user: Integers
    visit: Integers
    nth: Integers
    place: Integers


@dataclass(frozen=True)
class Actions:
    """Events in the order of users and of time: `nth` counts a user's events, `kind` is a place in FUNNEL, `time` is
    ms since 1970, strictly increasing for a user."""

    user: Integers
    visit: Integers
    nth: Integers
    place: Integers
    kind: Integers
    time: Integers
    quantity: Integers


def block_size(shoppers: Synthetic) -> int:
    """Users whose histories together are about 300,000 events: some tens of MiB of arrays."""
    return max(1, int(300_000 / (shoppers.days * max(3.0, shoppers.events_per_user_day))))


def actions(users: Integers, shoppers: Synthetic) -> Actions:
    """The whole histories of these users (their numbers, ascending)."""
    views = _views(users, shoppers)
    carted = uniform(shoppers.seed, _CART, views.user, views.nth) < CART_SHARE
    bought = carted & (uniform(shoppers.seed, _PURCHASE, views.user, views.nth) < PURCHASE_SHARE)
    events = 1 + carted.astype(np.int64) + bought
    row = np.repeat(np.arange(len(events)), events)
    user, visit = views.user[row], views.visit[row]
    nth = _place_in_run(user)
    quantity = 1 + (3 * uniform(shoppers.seed, _QUANTITY, user, nth) ** 3).astype(np.int64)
    times = _times(user, visit, nth, shoppers)
    return Actions(user, visit, nth, views.place[row], np.arange(len(row)) - _starts(events)[row], times, quantity)


def next_places(first: Integers, is_jump: Booleans, items: int) -> Integers:
    """The chain: where it jumps it goes to `first`, else on to the successor. A history starts with a jump.

    >>> next_places(np.array([5, 0, 0, 2, 0]), np.array([True, False, False, True, False]), items=7)
    array([5, 6, 0, 2, 3])
    """
    row = np.arange(len(first))
    last_jump = np.maximum.accumulate(np.where(is_jump, row, 0))
    return np.asarray((first[last_jump] + row - last_jump) % items)


def _views(users: Integers, shoppers: Synthetic) -> Views:
    user, visit, length = _visits(users, shoppers)
    user, visit = np.repeat(user, length), np.repeat(visit, length)
    nth = _place_in_run(user)
    is_jump = (nth == 0) | (uniform(shoppers.seed, _JUMP, user, nth) >= shoppers.predictability)
    first = np.zeros(len(user), np.int64)
    first[is_jump] = _free_choices(user[is_jump], nth[is_jump], shoppers)
    return Views(user, visit, nth, next_places(first, is_jump, shoppers.items))


def _visits(users: Integers, shoppers: Synthetic) -> tuple[Integers, Integers, Integers]:
    """User, number (3 a day, most of them not paid) and count of views of each visit."""
    views_per_day = shoppers.events_per_user_day / _EVENTS_PER_VIEW
    visits_per_day = min(_VISITS_PER_DAY, views_per_day)
    user, visit = users[:, None], np.arange(3 * shoppers.days)[None, :]
    # A few come often, most seldom: between 0 and 3, and 1 on average.
    rate = 3 * uniform(shoppers.seed, _RATE, user, np.zeros((1, 1), np.int64)) ** 2
    chance = rate * visits_per_day * _SLOT_SHARE[visit % 3]
    rows, visits = np.nonzero(uniform(shoppers.seed, _VISIT, user, visit) < chance)
    found, stop = users[rows], 1.0 - visits_per_day / views_per_day
    draw = uniform(shoppers.seed, _LENGTH, found, visits)
    return found, visits, 1 + _geometric(draw, stop)


def _free_choices(user: Integers, nth: Integers, shoppers: Synthetic) -> Integers:
    """Places drawn by popularity; a user's first from the chain's stationary distribution.

    That one is a free choice, made a geometrically distributed number of steps ago.
    """
    items, p = catalogue(shoppers.items, shoppers.seed), shoppers.predictability
    drawn = items.place_of_rank[np.searchsorted(items.cumulated, uniform(shoppers.seed, _CHOICE, user, nth))]
    draw = uniform(shoppers.seed, _FIRST, user, nth)
    steps = (draw * shoppers.items).astype(np.int64) if p == 1.0 else _geometric(draw, p)
    return np.asarray(np.where(nth == 0, (drawn + steps) % shoppers.items, drawn))


def _times(user: Integers, visit: Integers, nth: Integers, shoppers: Synthetic) -> Integers:
    """1 to 90 s between events; less where a visit would else outlast its part of the day."""
    gap = (1000 + 89_000 * uniform(shoppers.seed, _GAP, user, nth)).astype(np.int64)
    is_first = np.ones(len(user), bool)
    is_first[1:] = (user[1:] != user[:-1]) | (visit[1:] != visit[:-1])
    first_row, visit_of_row = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    total = np.cumsum(gap)
    offset = total - total[first_row][visit_of_row]
    longest = np.maximum.reduceat(offset, first_row) if len(first_row) else offset
    scale = np.minimum(1.0, _LONGEST_VISIT / np.maximum(longest, 1))[visit_of_row]
    start = _SLOT_START[visit % 3] + (_START_WIDTH * uniform(shoppers.seed, _START, user, visit)).astype(np.int64)
    midnight = (shoppers.first_date - date(1970, 1, 1)).days * _DAY + visit // 3 * _DAY
    return np.asarray(midnight + start + (offset * scale).astype(np.int64))


def _geometric(draw: Floats, p: float) -> Integers:
    """0, 1, 2, ... with the probabilities 1 - p, (1 - p) p, (1 - p) p^2, ..."""
    if p <= 0.0:
        return np.zeros(len(draw), np.int64)
    return np.asarray(np.floor(np.log(draw) / np.log(p)), dtype=np.int64)


def _starts(lengths: Integers) -> Integers:
    return np.asarray(np.cumsum(lengths) - lengths)


def _place_in_run(values: Integers) -> Integers:
    """0, 1, 2, ... within each run of equal values.

    >>> _place_in_run(np.array([4, 4, 4, 9, 9]))
    array([0, 1, 2, 0, 1])
    """
    row = np.arange(len(values))
    is_first = np.ones(len(values), bool)
    is_first[1:] = values[1:] != values[:-1]
    return np.asarray(row - np.maximum.accumulate(np.where(is_first, row, 0)))
