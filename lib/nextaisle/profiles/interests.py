"""What a user is interested in: categories, brands, hours and weekdays, of events of profiles.interest_event_types.

E events, N places of a timeline, F facts, D (user, day, category), K entries of lists.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextaisle.arrays import gathered
from nextaisle.profiles.blocks import Block, Rules, array, coded, dates, is_valid, offsets, seed_structs, structs
from nextaisle.profiles.timelines import Facts, counted, facts_of, known_keys, running, within

Array = npt.NDArray[Any]

_HOURS: Final = 24
_WEEKDAYS: Final = 7
# Days of the shop are a few tens of thousands, before 1970 and after.
_DAY_BITS: Final = 24
_DAY_ZERO: Final = 1 << 23


def category_columns(block: Block, rules: Rules) -> dict[str, pa.Array]:
    """Counts by category, of all days and of the last two windows."""
    facts, names = _interest_facts(block, rules, "category")
    columns = _count_columns(facts, names, block, rules, "category", "favourite_categories")
    return columns | _window_columns(facts, names, block, rules)


def brand_columns(block: Block, rules: Rules) -> dict[str, pa.Array]:
    """Counts by brand."""
    facts, names = _interest_facts(block, rules, "brand")
    return _count_columns(facts, names, block, rules, "brand", "favourite_brands")


def clock_columns(block: Block, rules: Rules) -> dict[str, pa.Array]:
    """Counts by hour, from 0, and by weekday, from 1."""
    return _clock(block, rules, "hour", _HOURS, 0) | _clock(block, rules, "weekday", _WEEKDAYS, 1)


def _interest_facts(block: Block, rules: Rules, name: str) -> tuple[Facts, pa.Array]:
    """How often each category or brand was of interest, and their names in order."""
    is_chosen_E = _is_interest(block, rules) & is_valid(block.events, name)
    places, seed_counts = seed_structs(block, f"{name}_counts", "event_count")
    _, seed_names = seed_structs(block, f"{name}_counts", name)
    (key_E, key_X), names = coded([array(block.events, name).filter(pa.array(is_chosen_E)), seed_names])
    ones = np.ones(len(key_E), np.int64)
    place, key, count = counted(block.place_E[is_chosen_E], key_E, ones)
    place, key = np.concatenate([places, place]), np.concatenate([key_X, key])
    count = np.concatenate([seed_counts.to_numpy(zero_copy_only=False).astype(np.int64), count])
    return facts_of(place, key, count, key, block.times, rules.max_distinct), names


def _count_columns(
    facts: Facts, names: pa.Array, block: Block, rules: Rules, name: str, favourites: str
) -> dict[str, pa.Array]:
    """All counts, and the greatest."""
    place_K, key_K, total_K = known_keys(facts, block.times)
    is_top_K = within(place_K, rules.favourites)
    size = len(block.times.day_N)
    return {
        f"{name}_counts": structs(place_K, size, {name: names.take(pa.array(key_K)), "event_count": total_K}),
        favourites: structs(
            place_K[is_top_K], size, {name: names.take(pa.array(key_K[is_top_K])), "event_count": total_K[is_top_K]}
        ),
    }


def _window_columns(facts: Facts, names: pa.Array, block: Block, rules: Rules) -> dict[str, pa.Array]:
    """recent_category_counts, and the counts of the two windows in them that a row's day ends."""
    user_D, day_D, key_D, count_D = _daily(facts, names, block)
    at_D = (user_D << _DAY_BITS) + day_D + _DAY_ZERO
    now_N = (block.times.user_N << _DAY_BITS) + block.times.day_N + _DAY_ZERO
    ends = [np.searchsorted(at_D, now_N - back, side="right") for back in (2 * rules.window_days, rules.window_days, 0)]
    # Of seeds nothing is written.
    before_N, middle_N, end_N = (np.where(block.times.is_seed_N, 0, each) for each in ends)
    size = len(now_N)
    taken = gathered(before_N, end_N)
    place_K = np.repeat(np.arange(size), end_N - before_N)
    values = {
        "event_date": dates(day_D[taken]),
        "category": names.take(pa.array(key_D[taken])),
        "event_count": count_D[taken],
    }
    return {
        "recent_category_counts": structs(place_K, size, values),
        "recent_counts": _window_counts(middle_N, end_N, key_D, count_D),
        "earlier_counts": _window_counts(before_N, middle_N, key_D, count_D),
    }


def _daily(facts: Facts, names: pa.Array, block: Block) -> tuple[Array, Array, Array, Array]:
    """Events of interest by user, day and category, ordered so; a seed knows its own days."""
    is_own_F = ~block.times.is_seed_N[facts.place_F]
    place_F = facts.place_F[is_own_F]
    places, seed_dates = seed_structs(block, "recent_category_counts", "event_date")
    _, categories = seed_structs(block, "recent_category_counts", "category")
    _, counts = seed_structs(block, "recent_category_counts", "event_count")
    key_X = np.asarray(pc.index_in(categories, value_set=names).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    user = np.concatenate([block.times.user_N[places], block.times.user_N[place_F]])
    day = np.concatenate([seed_dates.cast(pa.int32()).to_numpy(zero_copy_only=False), block.times.day_N[place_F]])
    day = day.astype(np.int64)
    key = np.concatenate([key_X, facts.key_F[is_own_F]])
    count = np.concatenate([counts.to_numpy(zero_copy_only=False).astype(np.int64), facts.count_F[is_own_F]])
    order = np.lexsort([key, day, user])
    return user[order], day[order], key[order], count[order]


def _window_counts(first_N: Array, end_N: Array, key_D: Array, count_D: Array) -> pa.Array:
    """Counts by category of each place's range of days, in the one order of entropies: the most first, then by name."""
    taken = gathered(first_N, end_N)
    place_K = np.repeat(np.arange(len(first_N)), end_N - first_N)
    place_K, key_K, count_K = counted(place_K, key_D[taken], count_D[taken])
    order = np.lexsort([key_K, -count_K, place_K])
    return pa.ListArray.from_arrays(offsets(place_K, len(first_N)), pa.array(count_K[order]))


def _clock(block: Block, rules: Rules, name: str, size: int, first: int) -> dict[str, pa.Array]:
    """Counts of events of interest by hour or weekday, [N, size], and the greatest of them."""
    is_chosen_E = _is_interest(block, rules)
    count_NC = np.zeros((len(block.times.day_N), size), np.int64)
    slot_E = array(block.events, name).to_numpy()[is_chosen_E] - first
    np.add.at(count_NC, (block.place_E[is_chosen_E], slot_E), 1)
    if len(block.seeds):
        count_NC[block.place_S] = array(block.seeds, f"{name}_counts").flatten().to_numpy().reshape(-1, size)
    count_NC = running(count_NC, block.times)
    place_K, slot_K = np.nonzero(count_NC)
    total_K = count_NC[place_K, slot_K]
    order = np.lexsort([slot_K, -total_K, place_K])
    place_K, slot_K, total_K = (each[order] for each in (place_K, slot_K, total_K))
    is_top_K = within(place_K, rules.favourites)
    top = {name: pa.array(slot_K[is_top_K] + first, pa.int32()), "event_count": total_K[is_top_K]}
    starts = pa.array(np.arange(len(count_NC) + 1) * size, pa.int32())
    return {
        f"{name}_counts": pa.ListArray.from_arrays(starts, pa.array(count_NC.ravel())),
        f"favourite_{name}s": structs(place_K[is_top_K], len(count_NC), top),
    }


def _is_interest(block: Block, rules: Rules) -> Array:
    wanted = pa.array(rules.interest_event_types, pa.string())
    is_in = pc.is_in(array(block.events, "event_type"), value_set=wanted)
    return np.asarray(is_in.to_numpy(zero_copy_only=False))
