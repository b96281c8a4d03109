"""Whole users' events to rows of the table user_profiles: a row per user and day on which the user did something.

E events, S seeds (the latest rows before the first day, one per user at most), N places of a timeline, T event types.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextaisle.arrays import gathered
from nextaisle.contract.tables import USER_PROFILES
from nextaisle.decimals import check_room, scaled, unscaled
from nextaisle.profiles.blocks import (
    TYPES,
    Block,
    Rules,
    array,
    block_of,
    coded,
    dates,
    days,
    is_valid,
    maps,
    seed_lists,
    seed_map,
    types_of,
)
from nextaisle.profiles.funnel import CART_PURCHASED, CARTED, VIEW_PURCHASED, VIEWED
from nextaisle.profiles.interests import brand_columns, category_columns, clock_columns
from nextaisle.profiles.measures import with_measures
from nextaisle.profiles.timelines import Facts, Timeline, counted, facts_of, running

Array = npt.NDArray[Any]

# Each batch is divided by days, at a price per day. A row is some kilobytes.
_ROWS_PER_BATCH: Final = 10_000
_PURCHASE: Final = TYPES.index("purchase")
_FUNNEL: Final = {
    "viewed_count": VIEWED,
    "carted_count": CARTED,
    "cart_purchased_count": CART_PURCHASED,
    "view_purchased_count": VIEW_PURCHASED,
}
MONEY: Final = ("paid_money", "mean_price_money")


def profile_rows(rows: pa.Table, rules: Rules) -> Iterator[pa.RecordBatch]:
    """Rows of user_profiles for the days of the events among `rows`, which are whole users, sorted by user and date.

    A row with an event_type is an event; one without is a seed, whose event_date is its as_of_date.
    """
    block = block_of(rows)
    columns = {
        "user_id": block.users.take(pa.array(block.times.user_N)),
        "as_of_date": dates(block.times.day_N),
        **_type_columns(block),
        **_date_columns(block),
        **_sum_columns(block),
        **category_columns(block, rules),
        **brand_columns(block, rules),
        **clock_columns(block, rules),
        **_bought_columns(block, rules),
    }
    is_row = pa.array(~block.times.is_seed_N)
    # Spark goes by the columns' places, not their names.
    made = pa.table(with_measures(columns)).select(USER_PROFILES.names)
    yield from made.filter(is_row).to_batches(max_chunksize=_ROWS_PER_BATCH)


def _type_columns(block: Block) -> dict[str, pa.Array]:
    """event_counts and event_money, and what they hold of purchases."""
    money_NT, is_priced_NT, count_NT = (np.zeros((len(block.times.day_N), len(TYPES)), np.int64) for _ in range(3))
    type_E = types_of(block.events["event_type"])
    np.add.at(count_NT, (block.place_E, type_E), 1)
    np.add.at(money_NT, (block.place_E, type_E), unscaled(array(block.events, "money")))
    np.add.at(is_priced_NT, (block.place_E, type_E), is_valid(block.events, "money"))
    if len(block.seeds):
        place_X, type_X, values = seed_map(block, "event_counts")
        count_NT[place_X, type_X] = values.to_numpy()
        place_X, type_X, values = seed_map(block, "event_money")
        money_NT[place_X, type_X], is_priced_NT[place_X, type_X] = unscaled(values), 1
    count_NT, is_priced_NT = running(count_NT, block.times), running(is_priced_NT, block.times)
    money_NT = _running_money(money_NT, block.times)
    return {
        "event_counts": maps(count_NT > 0, pa.array(count_NT[count_NT > 0])),
        "event_money": maps(is_priced_NT > 0, scaled(money_NT[is_priced_NT > 0])),
        "purchase_count": pa.array(count_NT[:, _PURCHASE]),
        "purchase_money": scaled(money_NT[:, _PURCHASE]),
    }


def _date_columns(block: Block) -> dict[str, pa.Array]:
    """Days and the instant on which something was first or last."""
    times = block.times
    first_N, bought_N, last_N = (times.day_N.copy() for _ in range(3))
    time_N = np.full(len(last_N), np.iinfo(np.int64).min)
    np.maximum.at(time_N, block.place_E, array(block.events, "event_time").cast(pa.int64()).to_numpy())
    is_purchase_N = np.zeros(len(last_N), bool)
    is_purchase_N[block.place_E[types_of(block.events["event_type"]) == _PURCHASE]] = True
    if len(block.seeds):
        is_purchase_N[block.place_S] = is_valid(block.seeds, "last_purchase_date")
        first_N[block.place_S] = days(block.seeds, "first_event_date")
        bought_N[block.place_S] = days(block.seeds, "first_purchase_date")
        last_N[block.place_S] = days(block.seeds, "last_purchase_date")
    place_N = np.arange(len(last_N))
    # The latest place with a purchase, and the user's first one; a place of another user is none.
    latest_N = np.maximum.accumulate(np.where(is_purchase_N, place_N, -1))
    following_N = np.minimum.accumulate(np.where(is_purchase_N, place_N, len(place_N))[::-1])[::-1]
    earliest_N = np.minimum(following_N[times.begin_N], len(place_N) - 1)
    has_bought_N = latest_N >= times.begin_N
    return {
        "last_event_time": pa.array(time_N).cast(pa.timestamp("us", tz="UTC")),
        "first_event_date": dates(first_N[times.begin_N]),
        "first_purchase_date": dates(bought_N[earliest_N], has_bought_N),
        "last_purchase_date": dates(last_N[latest_N], has_bought_N),
        "active_day_count": _added_up(block, np.ones(len(place_N), np.int64), "active_day_count"),
        "purchase_day_count": _added_up(block, is_purchase_N.astype(np.int64), "purchase_day_count"),
    }


def _sum_columns(block: Block) -> dict[str, pa.Array]:
    """The funnel, and what was paid beside what it costs on the mean."""
    step_E = array(block.events, "steps").to_numpy()
    columns = {}
    for name, bit in _FUNNEL.items():
        count_N = np.bincount(block.place_E[step_E & bit > 0], minlength=len(block.times.day_N))
        columns[name] = _added_up(block, count_N, name)
    for name in MONEY:
        money_N = np.zeros(len(block.times.day_N), np.int64)
        np.add.at(money_N, block.place_E, unscaled(array(block.events, name)))
        if len(block.seeds):
            money_N[block.place_S] = unscaled(array(block.seeds, name))
        columns[name] = scaled(_running_money(money_N, block.times))
    return columns


def _bought_columns(block: Block, rules: Rules) -> dict[str, pa.Array]:
    """The items ever bought, and how many purchases were of one that was bought on an earlier day."""
    is_chosen_E = (types_of(block.events["event_type"]) == _PURCHASE) & is_valid(block.events, "item_id")
    places, seed_items = seed_lists(block, "bought_item_ids")
    (key_E, key_X), names = coded([array(block.events, "item_id").filter(pa.array(is_chosen_E)), seed_items])
    place, key, count = counted(block.place_E[is_chosen_E], key_E, np.ones(len(key_E), np.int64))
    rank = np.concatenate([np.arange(len(key_X)), key])  # a seed's items stay in their order
    place, key = np.concatenate([places, place]), np.concatenate([key_X, key])
    count = np.concatenate([np.zeros(len(key_X), np.int64), count])
    facts = facts_of(place, key, count, rank, block.times, rules.max_distinct)
    is_repeat_F = facts.first_F < facts.place_F
    repeat_N = np.zeros(len(block.times.day_N), np.int64)
    np.add.at(repeat_N, facts.place_F[is_repeat_F], facts.count_F[is_repeat_F])
    return {
        "repeat_purchase_count": _added_up(block, repeat_N, "repeat_purchase_count"),
        "bought_item_ids": _bought_lists(facts, names, block.times),
    }


def _bought_lists(facts: Facts, names: pa.Array, times: Timeline) -> pa.Array:
    """The keys that had come by each place, by first place, there by rank: ever longer pieces of one list."""
    is_first_F = facts.first_F == facts.place_F
    place, key, rank = (each[is_first_F] for each in (facts.place_F, facts.key_F, facts.rank_F))
    order = np.lexsort([rank, place])
    place, key = place[order], key[order]
    begin_N = np.searchsorted(place, times.begin_N, side="left")
    end_N = np.searchsorted(place, np.arange(len(times.day_N)), side="right")
    # Of seeds nothing is written.
    end_N = np.where(times.is_seed_N, begin_N, end_N)
    starts = pa.array(np.concatenate([[0], np.cumsum(end_N - begin_N)]), pa.int32())
    return pa.ListArray.from_arrays(starts, names.take(pa.array(key[gathered(begin_N, end_N)])))


def _added_up(block: Block, value_N: Array, name: str) -> pa.Array:
    if len(block.seeds):
        value_N[block.place_S] = array(block.seeds, name).to_numpy()
    return pa.array(running(value_N, block.times))


def _running_money(value_N: Array, times: Timeline) -> Array:
    return check_room(running(value_N, times), running(value_N.astype(np.float64), times))
