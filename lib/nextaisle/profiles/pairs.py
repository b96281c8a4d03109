"""Sessions to pairs of items: Arrow batches in, Arrow batches out.

E events of item_graph.event_types with an item, B (session, item) of baskets, P pairs.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextaisle.arrays import gathered, hashed, numbered, run_starts
from nextaisle.contract.tokens import EVENT_TYPES
from nextaisle.days import days_of

Array = npt.NDArray[Any]

CO_PURCHASE: Final = "co_purchase"
PAIR_SCHEMA: Final = (
    "from_item_id string, to_item_id string, kind string, distance int, event_date date, pair_count bigint"
)
# Events whose pairs are made together.
_BLOCK_EVENTS: Final = 20_000
# The finalizer of SplitMix64 (Steele, Lea and Flood 2014): mixes the hashes of a session and an item.
_MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_KINDS: Final = (*(f"{first}_{second}" for first in EVENT_TYPES for second in EVENT_TYPES), CO_PURCHASE)


class Rules(NamedTuple):
    """The section [item_graph] of the configuration, and the shop's time zone, for the kernel."""

    event_types: tuple[str, ...]
    max_distance: int
    max_basket_items: int
    zone: str


class Visits(NamedTuple):
    """Events with an item, in order: session, item, type, instant and day. Items are numbered in the order of ids."""

    session_E: Array
    item_E: Array
    type_E: Array
    time_E: Array
    day_E: Array


class Pairs(NamedTuple):
    """Pairs of items, by their numbers; kind_P is a place in _KINDS, day_P the later event's day, since 1970."""

    from_P: Array
    to_P: Array
    kind_P: Array
    distance_P: Array
    day_P: Array

    def counted(self, count_P: Array) -> tuple["Pairs", Array]:
        """The different ones, by day, kind, from and to, and how often each comes, from how often each entry does."""
        order = np.lexsort([self.distance_P, self.to_P, self.from_P, self.kind_P, self.day_P])
        columns = [column[order] for column in self]
        starts = run_starts(*columns)
        counts = np.add.reduceat(count_P[order], starts) if len(starts) else count_P
        return Pairs(*(column[starts] for column in columns)), counts


def session_pairs(batches: Iterable[pa.RecordBatch], rules: Rules) -> Iterator[pa.RecordBatch]:
    """Rows of the table sessions to rows of PAIR_SCHEMA; a pair may be in several of them."""
    for batch in batches:
        for sessions in _blocks(batch):
            visits, items = _visits(sessions, rules.zone)
            hash_S = hashed(sessions.column("session_id"))
            parts = [*transitions(visits, rules), co_purchases(visits, hash_S, hashed(items), rules.max_basket_items)]
            pairs = Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            yield _batch(*pairs.counted(np.ones(len(pairs.from_P), np.int64)), items, pa.array(_KINDS))


def counted_pairs(rows: pa.Table) -> pa.RecordBatch:
    """Rows of PAIR_SCHEMA to as many as there are different pairs, by day, kind and items."""
    both = pa.concat_arrays([rows[name].combine_chunks() for name in ("from_item_id", "to_item_id")])
    item_2P, items = numbered(both)
    kind_P, kinds = numbered(rows["kind"].combine_chunks())
    day_P = rows["event_date"].combine_chunks().cast(pa.int32()).to_numpy()
    pairs = Pairs(item_2P[: len(rows)], item_2P[len(rows) :], kind_P, rows["distance"].to_numpy(), day_P)
    return _batch(*pairs.counted(rows["pair_count"].to_numpy()), items, kinds)


def transitions(visits: Visits, rules: Rules) -> Iterator[Pairs]:
    """From each event to those up to max_distance places behind it, of the same session and of another item.

    Events of one instant have no order, so none leads to the other. With max_distance 2:

    | view a | view b | cart c |      | from | to | kind      | distance |
    |--------|--------|--------|      |------|----|-----------|----------|
    | 10:00  | 10:01  | 10:01  |  ->  | a    | b  | view_view | 1        |
    |        |        |        |      | a    | c  | view_cart | 2        |
    """
    wanted = np.array([EVENT_TYPES.index(name) for name in rules.event_types])
    session_E, item_E, type_E, time_E, day_E = (each[np.isin(visits.type_E, wanted)] for each in visits)
    for distance in range(1, rules.max_distance + 1):
        is_pair = session_E[distance:] == session_E[:-distance]
        is_pair &= (item_E[distance:] != item_E[:-distance]) & (time_E[distance:] > time_E[:-distance])
        first = np.flatnonzero(is_pair)
        second = first + distance
        kind = type_E[first] * len(EVENT_TYPES) + type_E[second]
        yield Pairs(item_E[first], item_E[second], kind, np.full(len(first), distance), day_E[second])


def co_purchases(visits: Visits, hash_S: Array, hash_I: Array, most: int) -> Pairs:
    """Each two items that were bought in one session, the smaller id first.

    Of the items first bought on one day, more than `most` are sampled by hash. Each day by itself: a session that goes
    on after midnight must not change what the day before was built with. With `most` 2, c the greatest hash of its day:

    | 23:50 | 23:55 | 23:59 | 00:01 |      | day before | next day |
    |-------|-------|-------|-------|      |------------|----------|
    | a     | b     | c     | a d   |  ->  | a b        | a d, b d |
    """
    chosen = np.flatnonzero(visits.type_E == EVENT_TYPES.index("purchase"))
    key = (visits.session_E[chosen] << 32) | visits.item_E[chosen]
    # The first of equal ones, which is the earliest purchase.
    key_B, place_B = np.unique(key, return_index=True)
    session_B, item_B, day_B = key_B >> 32, key_B & 0xFFFFFFFF, visits.day_E[chosen][place_B]
    kept = _sampled(session_B, day_B, _mixed(hash_S[session_B], hash_I[item_B]), most)
    session_B, item_B, day_B = session_B[kept], item_B[kept], day_B[kept]
    starts = run_starts(session_B)
    lengths = np.diff(starts, append=len(session_B))
    end_B = np.repeat(starts + lengths, lengths)
    place_B = np.arange(len(session_B))
    second = gathered(place_B + 1, end_B)
    first = np.repeat(place_B, end_B - place_B - 1)
    kind, distance = np.full(len(first), len(_KINDS) - 1), np.zeros(len(first), np.int64)
    return Pairs(item_B[first], item_B[second], kind, distance, np.maximum(day_B[first], day_B[second]))


def _sampled(session_B: Array, day_B: Array, hash_B: Array, most: int) -> Array:
    """Places, in order, of at most `most` entries of each session and day: those with the smallest hashes."""
    order = np.lexsort([hash_B, day_B, session_B])
    starts = run_starts(session_B[order], day_B[order])
    lengths = np.diff(starts, append=len(session_B))
    rank = np.arange(len(session_B)) - np.repeat(starts, lengths)
    kept: Array = np.sort(order[rank < most])
    return kept


def _mixed(first: Array, second: Array) -> Array:
    mixed: Array = first ^ (second * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _blocks(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts of about _BLOCK_EVENTS events, whole sessions each."""
    end_S = np.cumsum(np.asarray(batch.column("item_ids").value_lengths()))
    starts = run_starts(end_S // _BLOCK_EVENTS)
    for start, length in zip(starts.tolist(), np.diff(starts, append=len(batch)).tolist(), strict=True):
        yield batch.slice(start, length)


def _visits(sessions: pa.RecordBatch, zone: str) -> tuple[Visits, pa.Array]:
    """The events that have an item, and the items in order."""
    lists = sessions.column("item_ids")
    session_E = np.repeat(np.arange(len(sessions)), np.asarray(lists.value_lengths()))
    item_ids = lists.flatten()
    place_E = np.flatnonzero(item_ids.is_valid().to_numpy(zero_copy_only=False))
    item_E, items = numbered(item_ids.take(pa.array(place_E)))
    types = pc.index_in(sessions.column("event_types").flatten(), value_set=pa.array(EVENT_TYPES)).fill_null(-1)
    time_E = sessions.column("event_times").flatten().cast(pa.int64()).to_numpy()[place_E]
    visits = Visits(
        session_E[place_E],
        item_E,
        types.to_numpy(zero_copy_only=False)[place_E].astype(np.int64),
        time_E,
        days_of(time_E, zone),
    )
    return visits, items


def _batch(pairs: Pairs, count_P: Array, items: pa.Array, kinds: pa.Array) -> pa.RecordBatch:
    columns = {
        "from_item_id": items.take(pa.array(pairs.from_P)),
        "to_item_id": items.take(pa.array(pairs.to_P)),
        "kind": kinds.take(pa.array(pairs.kind_P)),
        "distance": pa.array(pairs.distance_P, pa.int32()),
        "event_date": pa.array(pairs.day_P, pa.int32()).cast(pa.date32()),
        "pair_count": pa.array(count_P, pa.int64()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
