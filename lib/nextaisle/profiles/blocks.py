"""Whole users' events and seeds, and their columns between Arrow and NumPy.

E events, S seeds, N places of a timeline, K entries of lists.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextaisle.arrays import run_starts, text_run_starts
from nextaisle.contract.tokens import EVENT_TYPES
from nextaisle.profiles.timelines import Timeline, timeline_of

Array = npt.NDArray[Any]

# A type that is kept, events.unknown_types, though it is none of ours counts as another.
TYPES: Final = (*EVENT_TYPES, "other")
# Rows that are computed together. A user with more is a block of one's own.
BLOCK_ROWS: Final = 50_000


class Rules(NamedTuple):
    """The section [profiles] of the configuration, for the kernel."""

    interest_event_types: tuple[str, ...]
    favourites: int
    window_days: int
    max_distinct: int


class Block(NamedTuple):
    """Whole users: their events and seeds, and the places of each."""

    events: pa.Table
    place_E: Array
    seeds: pa.Table
    place_S: Array
    times: Timeline
    users: pa.Array


def block_of(rows: pa.Table) -> Block:
    starts = text_run_starts(rows["user_id"])
    user_R = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    day_R = rows["event_date"].cast(pa.int32()).to_numpy().astype(np.int64)
    is_seed_R = rows["event_type"].is_null().to_numpy()
    places = run_starts(user_R, day_R)
    place_R = np.repeat(np.arange(len(places)), np.diff(places, append=len(rows)))
    return Block(
        # Taken, not sliced: Arrow's buffers then begin with the first row.
        rows.take(np.flatnonzero(~is_seed_R)).combine_chunks(),
        place_R[~is_seed_R],
        rows.take(np.flatnonzero(is_seed_R)).combine_chunks(),
        place_R[is_seed_R],
        timeline_of(user_R[places], day_R[places], is_seed_R[places]),
        rows["user_id"].take(starts).combine_chunks(),
    )


def array(rows: pa.Table, name: str) -> pa.Array:
    return rows[name].combine_chunks()


def is_valid(rows: pa.Table, name: str) -> Array:
    return np.asarray(array(rows, name).is_valid().to_numpy(zero_copy_only=False))


def days(rows: pa.Table, name: str) -> Array:
    """Days since 1970; 0 where there is none."""
    return np.asarray(array(rows, name).cast(pa.int32()).fill_null(0).to_numpy(), np.int64)


def types_of(event_types: pa.Array) -> Array:
    """Places in TYPES."""
    if isinstance(event_types, pa.ChunkedArray):
        event_types = event_types.combine_chunks()
    places = pc.fill_null(pc.index_in(event_types, value_set=pa.array(TYPES)), len(TYPES) - 1)
    return np.asarray(places.to_numpy(), np.int64)


def seed_map(block: Block, name: str) -> tuple[Array, Array, pa.Array]:
    """Place, event type and value of each entry of the seeds' maps."""
    maps = array(block.seeds, name)
    return np.repeat(block.place_S, np.diff(maps.offsets)), types_of(maps.keys), maps.items


def seed_lists(block: Block, name: str) -> tuple[Array, pa.Array]:
    """Place and value of each entry of the seeds' lists."""
    lists = array(block.seeds, name)
    return np.repeat(block.place_S, np.asarray(lists.value_lengths())), lists.flatten()


def seed_structs(block: Block, name: str, field: str) -> tuple[Array, pa.Array]:
    """Place of each entry of the seeds' lists, and one field of it."""
    places, entries = seed_lists(block, name)
    return places, entries.field(field)


def coded(parts: list[pa.Array]) -> tuple[list[Array], pa.Array]:
    """Texts as their places in the ordered list of all of them, and that list. No text is null."""
    coded = pa.concat_arrays(parts).dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    codes = rank[coded.indices.to_numpy()]
    return np.split(codes, np.cumsum([len(part) for part in parts])[:-1]), coded.dictionary.take(pa.array(order))


def dates(days: Array, is_known: Array | None = None) -> pa.Array:
    missing = None if is_known is None else ~is_known
    return pa.array(days.astype(np.int32), pa.int32(), mask=missing).cast(pa.date32())


def maps(is_there_NT: Array, values: pa.Array) -> pa.Array:
    """Maps from event types, in their order, to the values of those that are there."""
    place_K, type_K = np.nonzero(is_there_NT)
    keys = pa.array(TYPES).take(pa.array(type_K))
    return pa.MapArray.from_arrays(offsets(place_K, len(is_there_NT)), keys, values)


def structs(place_K: Array, size: int, values: dict[str, Any]) -> pa.Array:
    """Lists of structs; entries are ordered by place."""
    arrays = [value if isinstance(value, pa.Array) else pa.array(value) for value in values.values()]
    return pa.ListArray.from_arrays(offsets(place_K, size), pa.StructArray.from_arrays(arrays, list(values)))


def offsets(place_K: Array, size: int) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(np.bincount(place_K, minlength=size))]), pa.int32())
