"""Which events of a session are steps of the funnel from view to cart to purchase, and sessions as single events.

The funnel is closed, and of one item in one session, as web analytics has it: a step counts only after the one before.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]

# Bits of `steps`: a purchase may be two of them.
VIEWED: Final = 1
CARTED: Final = 2
CART_PURCHASED: Final = 4
VIEW_PURCHASED: Final = 8

_LISTS: Final = {
    "item_ids": "item_id",
    "event_types": "event_type",
    "event_times": "event_time",
    "prices": "price",
    "quantities": "quantity",
}
EVENT_SCHEMA: Final = (
    "user_id string, item_id string, event_type string, event_time timestamp, price decimal(18,4), "
    "quantity decimal(18,3), steps int"
)


def session_events(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of the table sessions to rows of EVENT_SCHEMA, one per event, in the same order."""
    for batch in batches:
        lists = batch.column("item_ids")
        session_E = np.repeat(np.arange(len(batch)), np.asarray(lists.value_lengths()))
        columns = {"user_id": batch.column("user_id").take(pa.array(session_E))}
        columns |= {name: batch.column(plural).flatten() for plural, name in _LISTS.items()}
        steps = funnel_steps(session_E, columns["item_id"], columns["event_type"])
        columns["steps"] = pa.array(steps, pa.int32())
        yield pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def funnel_steps(session_E: Array, item_ids: pa.Array, event_types: pa.Array) -> Array:
    """Bits for each event. In one session, the item the same:

    | type  | cart | view   | view | cart   | purchase                        | purchase |
    |-------|------|--------|------|--------|---------------------------------|----------|
    | steps | -    | VIEWED | -    | CARTED | CART_PURCHASED + VIEW_PURCHASED | -        |
    """
    steps = np.zeros(len(session_E), np.int32)
    item_E = np.asarray(item_ids.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    place_P = np.flatnonzero(item_E >= 0)
    # Stable: within a session and item the events stay in their order.
    place_P = place_P[np.lexsort([item_E[place_P], session_E[place_P]])]
    if not len(place_P):
        return steps
    is_type = {
        name: pc.equal(event_types, name).to_numpy(zero_copy_only=False)[place_P]
        for name in ("view", "cart", "purchase")
    }
    session_P, item_P = session_E[place_P], item_E[place_P]
    is_start_P = np.concatenate([[True], (np.diff(session_P) != 0) | (np.diff(item_P) != 0)])
    group_P = np.cumsum(is_start_P) - 1
    before_all = np.full(group_P[-1] + 1, -1)
    viewed_G = _first_after(is_type["view"], before_all, group_P)
    carted_G = _first_after(is_type["cart"], viewed_G, group_P)
    for bit, place_G in (
        (VIEWED, viewed_G),
        (CARTED, carted_G),
        (CART_PURCHASED, _first_after(is_type["purchase"], carted_G, group_P)),
        (VIEW_PURCHASED, _first_after(is_type["purchase"], viewed_G, group_P)),
    ):
        steps[place_P[place_G[place_G < len(place_P)]]] |= bit
    return steps


def _first_after(is_wanted_P: Array, after_G: Array, group_P: Array) -> Array:
    """For each group the first wanted place behind `after_G`; the number of places where there is none."""
    place_P = np.arange(len(group_P))
    found = np.where(is_wanted_P & (place_P > after_G[group_P]), place_P, len(group_P))
    starts = np.flatnonzero(np.diff(group_P, prepend=-1))
    return np.minimum.reduceat(found, starts)
