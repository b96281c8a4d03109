"""Sessions to rows of the table examples: one shuffle by user, then the kernels of histories.py and windows.py."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Evaluation, Examples, Settings
from nextaisle.contract.tables import EXAMPLES
from nextaisle.days import day_number
from nextaisle.sequences.histories import BLOCK_EVENTS, Histories, events_in, flat, histories_of, user_ids
from nextaisle.sequences.splits import SPLITS, splits_by_time, splits_leave_one_out
from nextaisle.sequences.vocabulary import Lookup, read_lookup, type_indices
from nextaisle.sequences.windows import encode_windows, plan_windows
from nextaisle.storage.kernels import whole_users

# Windows per kernel call and Arrow batch: four arrays of `length` integers each.
_BATCH_WINDOWS: Final = 4_000
_KERNEL_SCHEMA: Final = (
    "user_id string, split string, last_target bigint, length int, item_indices array<int>, "
    "event_type_indices array<int>, is_session_end array<int>, target_indices array<int>"
)
_SESSION_COLUMNS: Final = ("user_id", "source_session_id", "start_time", "item_ids", "event_types", "event_times")


def examples_of(sessions: DataFrame, items: DataFrame, as_of: date, settings: Settings) -> DataFrame:
    """All windows of the histories through `as_of`, dealt to files by a hash: each file is a fair sample of a split."""
    session = sessions.sparkSession
    lookup = session.sparkContext.broadcast(read_lookup(items))
    rows = sessions.where(F.col("session_date") <= F.lit(as_of)).select(*_SESSION_COLUMNS)
    by_user = rows.repartition("user_id").sortWithinPartitions("user_id", "start_time").drop("start_time")
    windows = by_user.mapInArrow(_kernel(lookup, as_of, settings), _KERNEL_SCHEMA)
    columns = {
        "example_id": F.xxhash64("user_id", "split", "last_target"),
        "as_of_date": F.lit(as_of),
    }
    # Two files per core and split: enough for ranks to share out, few enough to open.
    files = 2 * session.sparkContext.defaultParallelism
    dealt = windows.withColumns(columns).select(*EXAMPLES.names).repartition(files, "example_id")
    # example_id is a hash, so its order is a shuffle that is the same each time.
    return dealt.sortWithinPartitions("split", "example_id")


def _kernel(
    lookup: Broadcast[Lookup], as_of: date, settings: Settings
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    examples, evaluation, zone = settings.examples, settings.evaluation, settings.source.time_zone

    def windows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in whole_users(batches, BLOCK_EVENTS, events_in):
            yield from window_rows(rows, lookup.value, as_of, zone, examples, evaluation)

    return windows


def window_rows(
    rows: pa.Table, lookup: Lookup, as_of: date, zone: str, examples: Examples, evaluation: Evaluation
) -> Iterator[pa.RecordBatch]:
    """The windows of whole users: `rows` are their sessions."""
    events = histories_of(rows, zone)
    # A session that spans midnight may go on after the day.
    events = events.where(events.day_E <= day_number(as_of))
    place = pa.array(events.place_E)
    item_E = lookup.find(flat(rows, "item_ids").take(place))
    types = flat(rows, "event_types").take(place)
    is_target_E = pc.is_in(types, pa.array(evaluation.target_event_types)).to_numpy(zero_copy_only=False)
    split_E = _splits(events, is_target_E, as_of, evaluation)
    planned = plan_windows(events.user_E, split_E, is_target_E, examples.length, examples.stride)
    users, type_E = user_ids(rows), type_indices(types)
    for start in range(0, len(planned.split_W), _BATCH_WINDOWS):
        part = planned.part(start, start + _BATCH_WINDOWS)
        encoded = encode_windows(part, item_E, type_E, events.is_start_E, is_target_E, examples.length)
        columns = {
            "user_id": users.take(pa.array(events.user_E[part.last_target_W])),
            "split": pa.array(SPLITS).take(pa.array(part.split_W)),
            "last_target": pa.array(part.last_target_W - part.user_start_W),
            "length": pa.array(encoded.length_W, pa.int32()),
            "item_indices": _lists(encoded.item_WL),
            "event_type_indices": _lists(encoded.event_type_WL),
            "is_session_end": _lists(encoded.session_end_WL),
            "target_indices": _lists(encoded.target_WL),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _splits(events: Histories, is_target_E: NDArray[np.bool_], as_of: date, evaluation: Evaluation) -> NDArray[np.int8]:
    if evaluation.protocol == "leave-one-out":
        return splits_leave_one_out(events.user_E, is_target_E)
    last_days = np.array([day_number(day) for day in evaluation.cuts(as_of)])
    return splits_by_time(events.day_E, last_days)


def _lists(array_WL: NDArray[np.int32]) -> pa.ListArray:
    rows, length = array_WL.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * length
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array_WL.ravel()))
