"""Sessions to rows of the table sequences: one shuffle by user, then the kernel of snapshots.py."""

from collections.abc import Iterator
from datetime import date
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import SEQUENCES
from nextaisle.kernels import ArrowRows, Batches, Part
from nextaisle.sequences.days import day_number
from nextaisle.sequences.histories import whole_users
from nextaisle.sequences.snapshots import sequence_rows
from nextaisle.sequences.vocabulary import read_lookup

# What is taken of a seed, a row of sequences.
SEED: Final = ("user_id", "event_count", "item_ids", "event_types", "event_times", "prices", "is_session_start")
_COLUMNS: Final = (*SEED, "is_seed", "source_session_id", "start_time")


def rebuild_sequences(
    sessions: DataFrame, seeds: DataFrame, items: DataFrame, first: date, through: date, settings: Settings
) -> ArrowRows:
    """Rows of sequences for the days from `first` on, of the sessions since (`changed_sessions`).

    Only users with events on these days are touched. Each goes on from their row of `seeds` (SEED), the latest of
    sequences before `first`. That lies after `through`, the last day that is compacted, or is EVERYTHING.
    """
    zone, max_events = settings.source.time_zone, settings.sequences.max_events
    lookup = sessions.sparkSession.sparkContext.broadcast(read_lookup(items))
    first_day = day_number(first)
    compacted_day = day_number(through) if first == EVERYTHING else None

    def snapshots(batches: Batches) -> Iterator[pa.RecordBatch]:
        for rows in whole_users(batches):
            yield from sequence_rows(rows, lookup.value, zone, first_day, max_events, compacted_day)

    rows = _as_input(sessions).unionByName(_as_seeds(seeds))
    hashed = rows.withColumn("user_hash", F.xxhash64("user_id")).repartition("user_hash")
    by_user = hashed.sortWithinPartitions("user_hash", "user_id", "start_time").drop("user_hash", "start_time")
    return ArrowRows(SEQUENCES, (Part(by_user, snapshots),))


def _as_seeds(rows: DataFrame) -> DataFrame:
    columns = {
        "is_seed": F.lit(True),
        "source_session_id": F.lit(None).cast("string"),
        "start_time": F.get("event_times", F.lit(0)),
    }
    return rows.withColumns(columns).select(*_COLUMNS)


def _as_input(sessions: DataFrame) -> DataFrame:
    columns = {
        "is_seed": F.lit(False),
        "event_count": F.col("event_count").cast("bigint"),
        "is_session_start": F.array().cast("array<boolean>"),
    }
    return sessions.withColumns(columns).select(*_COLUMNS)
