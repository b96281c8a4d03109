"""Users' events in their one order: event_time, then source session (none first), then place in the session.

Rows of the table sessions come in, sorted by user and start; whole users go out, a block at a time, as arrays.
E events, R rows.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextaisle.arrays import text_run_starts
from nextaisle.days import days_of

# Events that are computed together. A user with more is a block of one's own.
BLOCK_EVENTS: Final = 50_000


class Histories(NamedTuple):
    """Events with an item, each user's together and in order. Two users, the first with two sessions:

    | user_E        | 0 0 0 1 |
    | row_E         | 0 0 1 2 | the row, hence the session, that the event came in
    | place_E       | 0 1 2 4 | where it is in the flattened lists of the block; 3 was a search, without an item
    | is_start_E    | 1 0 1 1 | whether it is the first of its session that has an item
    """

    user_E: NDArray[np.int64]
    row_E: NDArray[np.int64]
    place_E: NDArray[np.int64]
    time_E: NDArray[np.int64]
    day_E: NDArray[np.int64]
    is_start_E: NDArray[np.bool_]

    def where(self, chosen_E: NDArray[np.bool_]) -> "Histories":
        return self.taken(np.flatnonzero(chosen_E))

    def taken(self, events: NDArray[np.int64]) -> "Histories":
        integers = (self.user_E, self.row_E, self.place_E, self.time_E, self.day_E)
        user_E, row_E, place_E, time_E, day_E = (column[events] for column in integers)
        return Histories(user_E, row_E, place_E, time_E, day_E, self.is_start_E[events])


def events_in(batch: pa.RecordBatch | pa.Table) -> int:
    return pc.sum(pc.list_value_length(batch.column("item_ids"))).as_py() or 0


def histories_of(rows: pa.Table, zone: str) -> Histories:
    """The events of whole users. `rows`: user_id, source_session_id, item_ids and event_times, sorted by user."""
    item_ids = flat(rows, "item_ids")
    row_E = np.repeat(np.arange(len(rows)), list_lengths(rows))
    place_E = np.flatnonzero(item_ids.is_valid().to_numpy(zero_copy_only=False))
    row_E = row_E[place_E]
    time_E = flat(rows, "event_times").cast(pa.int64()).to_numpy()[place_E]
    user_E = users_of(rows)[row_E]
    is_start_E = np.diff(row_E, prepend=-1) != 0
    events = Histories(user_E, row_E, place_E, time_E, days_of(time_E, zone), is_start_E)
    return _in_order(events, _source_ranks(rows))


def flat(rows: pa.Table, name: str) -> pa.Array:
    """A list column's values, one after the other."""
    return rows[name].combine_chunks().flatten()


def list_lengths(rows: pa.Table) -> NDArray[np.int64]:
    return np.asarray(pc.list_value_length(rows["item_ids"]).to_numpy(), np.int64)


def users_of(rows: pa.Table) -> NDArray[np.int64]:
    """0, 1, ... for the first user, the second, ... of each row."""
    is_first = np.zeros(len(rows), np.int64)
    is_first[text_run_starts(rows["user_id"])[1:]] = 1
    return np.cumsum(is_first)


def user_ids(rows: pa.Table) -> pa.Array:
    """The users of `users_of`, in its order."""
    return rows["user_id"].take(text_run_starts(rows["user_id"])).combine_chunks()


def _source_ranks(rows: pa.Table) -> NDArray[np.int64]:
    sources = rows["source_session_id"].combine_chunks()
    ranks = pc.rank(sources, sort_keys="ascending", null_placement="at_start", tiebreaker="dense")
    return np.asarray(ranks.to_numpy(), np.int64)


def _in_order(events: Histories, source_rank_R: NDArray[np.int64]) -> Histories:
    """Sorts, unless the events are sorted already, as they are where no two sessions of a user overlap."""
    same_user = events.user_E[1:] == events.user_E[:-1]
    later = events.time_E[1:] > events.time_E[:-1]
    same_session = (events.row_E[1:] == events.row_E[:-1]) & (events.time_E[1:] == events.time_E[:-1])
    if (~same_user | later | same_session).all():
        return events
    keys = (events.place_E, source_rank_R[events.row_E], events.time_E, events.user_E)
    return events.taken(np.lexsort(keys))
