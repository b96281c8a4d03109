"""How events lie in files: few a day, in each a user's together, so that columns are small and a night reads little."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from nextaisle.arrays import numbered
from nextaisle.contract.tables import EVENTS
from nextaisle.storage.kernels import ArrowRows, Batches, Kernel, Part
from nextaisle.storage.partitions import days_literal

# Days of new events alone are written by the tasks that read them, a file per task and day, where they are no more
# than this and of like size.
_FEW_DAYS: Final = 8
# Of others a day with more is kept in several files: about 64 MB; less where cores would stand idle.
_EVENTS_PER_FILE: Final = 2_000_000
_LEAST_PER_FILE: Final = 250_000
# Bytes that are sorted at once.
_SORTED_BYTES: Final = 64 << 20


def laid_out(
    events: DataFrame, counts: Mapping[date, int], mixed: Collection[date], lacking: Sequence[str]
) -> ArrowRows:
    """Events by day and user.

    `events` come by users, but those of the days of `mixed`, where others are among them; `counts` is how many there
    are of each day. The columns of `lacking` are null in all other days.
    """
    # A day with few, of which each task would write a file, is none of them.
    most = max(counts.values(), default=0)
    new = {day for day, count in counts.items() if day not in mixed and count * _FEW_DAYS >= most}
    if len(new) > _FEW_DAYS:
        new = set()
    others = set(counts) - new
    parts = []
    if new:
        known = [name for name in EVENTS.names if name not in lacking]
        rows = events if not others else events.where(days_literal("event_date", new))
        parts.append(Part(rows.select(known), _in_order()))
    if others or not new:
        rows = events if not new else events.where(days_literal("event_date", others))
        parts.append(Part(_by_day_and_user(rows.select(EVENTS.names), counts), _in_order()))
    return ArrowRows(EVENTS, tuple(parts))


def _by_day_and_user(events: DataFrame, counts: Mapping[date, int]) -> DataFrame:
    most, cores = max(counts.values(), default=0), events.sparkSession.sparkContext.defaultParallelism
    buckets = max(1, math.ceil(most / min(_EVENTS_PER_FILE, max(_LEAST_PER_FILE, math.ceil(most / cores)))))
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(buckets))
    return events.repartition("event_date", bucket).sortWithinPartitions("event_date")


def _in_order() -> Kernel:
    schema = to_arrow_schema(EVENTS.schema)

    def in_order(batches: Batches) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(each.nbytes for each in waiting) >= _SORTED_BYTES:
                yield _ordered(waiting, schema)
                waiting = []
        if waiting:
            yield _ordered(waiting, schema)

    return in_order


def _ordered(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """By user and time; columns that the batches lack are null."""
    rows = pa.Table.from_batches(batches).combine_chunks()
    user, _ = numbered(rows["user_id"].combine_chunks())
    time = rows["event_time"].combine_chunks().cast(pa.int64()).to_numpy()
    order = pa.array(np.lexsort((time, user)))
    taken = rows.take(order).combine_chunks().to_batches()[0]
    columns = [
        taken.column(field.name) if field.name in taken.schema.names else pa.nulls(len(taken), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
