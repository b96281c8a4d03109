"""Whole users' sessions to rows of the table sequences: a row per user and day on which the user did something."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextaisle.arrays import Integers, gathered, run_starts
from nextaisle.contract.errors import SchemaError
from nextaisle.sequences.compaction import is_kept
from nextaisle.sequences.histories import Histories, flat, histories_of, list_lengths, user_ids, users_of
from nextaisle.sequences.vocabulary import Lookup

# Events written per Arrow batch: a block of users becomes many times its size, since each row repeats what was before.
_BATCH_EVENTS: Final = 200_000
# The first gives the places of events in all of them.
LISTS: Final = ("item_ids", "event_types", "event_times", "prices")


class Snapshots(NamedTuple):
    """N rows of sequences: row n holds the events first_N[n] to end_N[n] - 1 of histories."""

    user_N: Integers
    day_N: Integers
    first_N: Integers
    end_N: Integers
    event_count_N: Integers

    def part(self, chosen: slice | NDArray[np.bool_]) -> "Snapshots":
        return Snapshots(*(column[chosen] for column in self))


def sequence_rows(
    rows: pa.Table, lookup: Lookup, zone: str, first_day: int, max_events: int, compacted_day: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of sequences for the days from `first_day` on (days since 1970), of whole users.

    Of the days through `compacted_day` only those that compaction keeps; then there are no seeds.

    `rows` are sessions with events on those days, and per user at most one seed: the latest row of sequences before
    `first_day`, which stands for all that came earlier.

    Raises:
        SchemaError: a row's lists are not in step, as where one was written before its column was.
    """
    _refuse_out_of_step(rows)
    is_seed_R = rows["is_seed"].to_numpy()
    events = _with_seeded_starts(histories_of(rows, zone), rows, is_seed_R)
    # What a session that spans midnight holds of the day before, its seed holds too.
    is_seed_E = is_seed_R[events.row_E]
    events = events.where(is_seed_E | (events.day_E >= first_day))
    found = snapshots_of(events, is_seed_R[events.row_E], _forgotten(rows, is_seed_R), max_events)
    if compacted_day is not None:
        found = found.part(_is_written(found, compacted_day))
    values = [flat(rows, name) for name in LISTS]
    index_E = lookup.find(values[0].take(pa.array(events.place_E)))
    users = user_ids(rows)
    for part in _parts(found):
        yield _batch(part, events, values, index_E, users)


def snapshots_of(events: Histories, is_seed_E: NDArray[np.bool_], forgotten_U: Integers, max_events: int) -> Snapshots:
    """One row per user and day that has an event which is no seed; `forgotten_U` counts what the seeds' caps left out.

    | user_E, day_E, max_events 3 | rows: user, day, events, event_count   |
    |-----------------------------|----------------------------------------|
    | 0 0 0 0 1                   | 0  5  0..1  2                          |
    | 5 5 7 7 7                   | 0  7  1..3  4: the first is forgotten  |
    |                             | 1  7  4..4  1                          |
    """
    start_N = run_starts(events.user_E, events.day_E)
    end_N = np.append(start_N[1:], len(events.user_E))[: len(start_N)]
    is_row = ~is_seed_E[start_N]
    start_N, end_N = start_N[is_row], end_N[is_row]
    user_start = run_starts(events.user_E)
    begin_N = user_start[np.searchsorted(user_start, start_N, side="right") - 1]
    user_N = events.user_E[start_N]
    return Snapshots(
        user_N,
        events.day_E[start_N],
        np.maximum(begin_N, end_N - max_events),
        end_N,
        forgotten_U[user_N] + end_N - begin_N,
    )


def _refuse_out_of_step(rows: pa.Table) -> None:
    expected = list_lengths(rows)
    for name in LISTS[1:]:
        lengths = pc.fill_null(pc.list_value_length(rows[name]), 0).to_numpy()
        if len(differing := np.flatnonzero(lengths != expected)):
            place = int(differing[0])
            raise SchemaError(
                f"{name} has {lengths[place]} values for the {expected[place]} events in a row of user "
                f"{rows['user_id'][place].as_py()!r}; build sessions and sequences anew, without --date"
            )


def _is_written(found: Snapshots, compacted_day: int) -> NDArray[np.bool_]:
    is_old_N = found.day_N <= compacted_day
    old = found.part(is_old_N)
    is_written_N = ~is_old_N
    is_written_N[is_old_N] = is_kept(old.user_N, old.event_count_N, old.end_N - old.first_N)
    return is_written_N


def _forgotten(rows: pa.Table, is_seed_R: NDArray[np.bool_]) -> Integers:
    user_R = users_of(rows)
    forgotten_U = np.zeros(int(user_R[-1]) + 1, np.int64)
    forgotten_U[user_R[is_seed_R]] = (rows["event_count"].to_numpy() - list_lengths(rows))[is_seed_R]
    return forgotten_U


def _with_seeded_starts(events: Histories, rows: pa.Table, is_seed_R: NDArray[np.bool_]) -> Histories:
    """A seed says itself which of its events began a session; of other rows it is the first."""
    lengths = list_lengths(rows)
    starts = np.zeros(int(lengths.sum()), bool)
    starts[np.repeat(is_seed_R, lengths)] = flat(rows, "is_session_start").to_numpy(zero_copy_only=False)
    is_start_E = np.where(is_seed_R[events.row_E], starts[events.place_E], events.is_start_E)
    return events._replace(is_start_E=is_start_E)


def _parts(found: Snapshots) -> Iterator[Snapshots]:
    batch_N = np.cumsum(found.end_N - found.first_N) // _BATCH_EVENTS
    ends = np.append(run_starts(batch_N), len(batch_N)).tolist()
    for start, end in pairwise(ends):
        yield found.part(slice(start, end))


def _batch(
    part: Snapshots, events: Histories, values: list[pa.Array], index_E: NDArray[np.int32], users: pa.Array
) -> pa.RecordBatch:
    taken = gathered(part.first_N, part.end_N)
    offsets = pa.array(np.concatenate([[0], np.cumsum(part.end_N - part.first_N)]), pa.int32())
    place = pa.array(events.place_E[taken])
    item_ids, types, times, prices = (pa.ListArray.from_arrays(offsets, column.take(place)) for column in values)
    columns = {
        "user_id": users.take(pa.array(part.user_N)),
        "as_of_date": pa.array(part.day_N.astype(np.int32)).cast(pa.date32()),
        "event_count": pa.array(part.event_count_N),
        "item_ids": item_ids,
        "item_indices": pa.ListArray.from_arrays(offsets, pa.array(index_E[taken])),
        "event_types": types,
        "event_times": times,
        "prices": prices,
        "is_session_start": pa.ListArray.from_arrays(offsets, pa.array(events.is_start_E[taken])),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
