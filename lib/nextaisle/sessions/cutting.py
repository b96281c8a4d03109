"""Cuts a stream of events into sessions: Arrow batches in, Arrow batches out, no Python per event.

Memory is bounded by a block of events and the longest session, whatever a user has done.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Events that are cut together: NumPy's overhead is spread over them, and they stay in the processor's cache.
BLOCK_EVENTS: Final = 65_536

# What becomes a list per session, under the names of the table sessions.
_LISTS: Final = {
    "item_ids": "item_id",
    "event_types": "event_type",
    "event_times": "event_time",
    "prices": "price",
    "quantities": "quantity",
}


def cut_sessions(
    batches: Iterable[pa.RecordBatch], gap: int, longest: int, collapse_types: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Sessions of events that come by user, each user's sorted by source_session_id, event_time and then event_id.

    `gap` and `longest` are microseconds. The last session of a block may go on in the next one: it is held back.
    Repetitions of an event of `collapse_types` become one. A session's day is the event_date of its first event.
    """
    held: list[pa.Table] = []
    for block in _blocks(batches):
        events = pa.concat_tables([*held, block]).combine_chunks()
        starts = session_starts(_is_new_trail(events), _microseconds(events["event_time"]), gap, longest)
        yield from _sessions(events, starts[:-1], int(starts[-1]), collapse_types)
        held = [events.slice(starts[-1])]
    for events in held:
        yield from _sessions(events, np.zeros(1, np.int64), len(events), collapse_types)


def session_starts(
    is_new_trail: NDArray[np.bool_], time: NDArray[np.int64], gap: int, longest: int
) -> NDArray[np.int64]:
    """Places of the first event of each session, in a run of sorted events.

    A session ends before an event that comes more than `gap` after the one before it, or `longest` or more after the
    session's first. With gap 30 and longest 60:

    | time   | 0 | 30 | 61 | 90 | 95 | 121 |                                         |
    |--------|---|----|----|----|----|-----|-----------------------------------------|
    | starts | x |    | x  |    |    | x   | 30 stays in; 61 is 31 on; 121 is 60 on  |
    """
    is_start = is_new_trail.copy()
    is_start[:1] = True
    is_start[1:] |= np.diff(time) > gap
    while True:
        starts = np.flatnonzero(is_start)
        begun = np.repeat(time[starts], np.diff(starts, append=len(time)))
        is_over = time - begun >= longest
        if not is_over.any():
            return starts
        # The first event beyond the limit starts a session, which may itself be too long: hence the loop, one round
        # for each `longest` that somebody went on without a pause.
        is_start[1:] |= is_over[1:] & ~is_over[:-1]


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        if count >= BLOCK_EVENTS:
            yield pa.Table.from_batches(waiting)
            waiting, count = [], 0
    if count:
        yield pa.Table.from_batches(waiting)


def _is_new_trail(events: pa.Table) -> NDArray[np.bool_]:
    """Whether an event's user or source session is not that of the event before it. A trail is what may be cut."""
    return _differs_from_previous(events["user_id"]) | _differs_from_previous(events["source_session_id"])


def _differs_from_previous(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    values = column.combine_chunks()
    is_null = values.is_null().to_numpy(zero_copy_only=False)
    unequal = pc.not_equal(values[1:], values[:-1]).fill_null(False).to_numpy(zero_copy_only=False)
    return np.concatenate([[True], unequal | (is_null[1:] != is_null[:-1])])


def _microseconds(times: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(times.cast(pa.int64()).to_numpy())


def is_repetition(events: pa.Table, starts: NDArray[np.int64], collapse_types: Sequence[str]) -> NDArray[np.bool_]:
    """Whether an event does again what the one before it in the session did: its type, of `collapse_types`, and item.

    What has no item repeats nothing, and a day begins anew: it is told what happened on it. With "view" collapsed:

    | event         | view a | view a | view b | view a | cart a | cart a | view a | view a | view a, after midnight |
    |---------------|--------|--------|--------|--------|--------|--------|--------|--------|------------------------|
    | is_repetition | -      | x      | -      | -      | -      | -      | -      | x      | -                      |
    """
    types = events["event_type"].combine_chunks()
    is_same = pc.is_in(types, pa.array(collapse_types, pa.string()))[1:]
    for name in ("event_type", "item_id", "event_date"):
        column = events[name].combine_chunks()
        is_same = pc.and_(is_same, pc.equal(column[1:], column[:-1]).fill_null(False))
    repeats: NDArray[np.bool_] = np.concatenate([[False], is_same.to_numpy(zero_copy_only=False)])
    repeats[starts] = False
    return repeats


def _sessions(
    events: pa.Table, starts: NDArray[np.int64], end: int, collapse_types: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """One row per session: session s holds the events starts[s] to starts[s + 1], the last one those to `end`.

    A repetition leaves the lists, not the session: that ends with it.
    """
    if not len(starts):
        return
    firsts, lasts = events.take(starts), events["event_time"].take(np.append(starts[1:], end) - 1)
    kept = np.arange(end)
    if collapse_types:
        kept = np.flatnonzero(~is_repetition(events.slice(0, end), starts, collapse_types))
        events = events.take(kept)
    offsets = np.append(np.searchsorted(kept, starts), len(kept))
    counts = np.diff(kept, append=end).astype(np.int32)
    arrays = [
        firsts["event_date"].combine_chunks(),
        firsts["user_id"].combine_chunks(),
        firsts["source_session_id"].combine_chunks(),
        firsts["event_time"].combine_chunks(),
        lasts.combine_chunks(),
        pa.array(np.diff(offsets), pa.int32()),
        *(_lists(events[name].combine_chunks(), offsets) for name in _LISTS.values()),
        _lists(pa.array(counts), offsets),
    ]
    names = ["session_date", "user_id", "source_session_id", "start_time", "end_time", "event_count", *_LISTS, "counts"]
    yield pa.RecordBatch.from_arrays(arrays, names)


def _lists(values: pa.Array, offsets: NDArray[np.int64]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
