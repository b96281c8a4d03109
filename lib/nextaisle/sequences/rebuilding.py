"""Sessions to rows of the table sequences: one shuffle by user, then the kernel of snapshots.py."""

from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import SEQUENCES
from nextaisle.days import day_number
from nextaisle.sequences.histories import BLOCK_EVENTS, events_in
from nextaisle.sequences.snapshots import LISTS, sequence_rows
from nextaisle.sequences.vocabulary import Lookup
from nextaisle.storage.kernels import ArrowRows, Batches, Part, whole_users
from nextaisle.storage.latest_rows import FilesOfUsers, LatestRows, seeds_first, with_hashes_of
from nextaisle.storage.user_ranges import dealt_by_user

# What is taken of a seed, a row of sequences.
SEED: Final = SEQUENCES.carried
# Users whose seeds are computed together: a million events where all have as many as sequences keep.
_BLOCK_SEEDS: Final = 2500


class ByUser(NamedTuple):
    """Sessions since a day, by user, and where each user's seed is found: the latest row of sequences before that day.

    Seeds that Spark has found are among the rows; then there are no `files`.
    """

    rows: DataFrame
    files: FilesOfUsers | None


def rows_by_user(sessions: DataFrame, seeds: LatestRows) -> ByUser:
    """What `rebuild_sequences` goes by: sessions since a day, and of their users the latest row (SEED) before it.

    Shuffled at once, so that this can be done beside other work.
    """
    of_seeds = seeds.rows.select(*SEED).withColumn("is_seed", F.lit(True))
    rows = _as_input(sessions).unionByName(of_seeds, allowMissingColumns=True)
    # A seed has no start_time, so it comes first.
    by_user = dealt_by_user(rows, "start_time", has_seeds=seeds.files is not None)
    return ByUser(by_user.drop("start_time"), seeds.files)


def rebuild_sequences(by_user: ByUser, vocabulary: Lookup, first: date, through: date, settings: Settings) -> ArrowRows:
    """Rows of sequences for the days from `first` on, of the users of `by_user` (`rows_by_user`).

    Their sessions are those since `first` (`changed_sessions`), which lies after `through`, the last day that is
    compacted, or is EVERYTHING.
    """
    zone, max_events, files = settings.source.time_zone, settings.sequences.max_events, by_user.files
    lookup = by_user.rows.sparkSession.sparkContext.broadcast(vocabulary)
    first_day = day_number(first)
    compacted_day = day_number(through) if first == EVERYTHING else None

    def size_of(rows: pa.RecordBatch | pa.Table) -> int:
        return events_in(rows) + (len(rows) * BLOCK_EVENTS // _BLOCK_SEEDS if files else 0)

    def snapshots(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in whole_users(batches, BLOCK_EVENTS, size_of):
            rows = _with_seeds(block, files) if files else block
            for made in sequence_rows(rows, lookup.value, zone, first_day, max_events, compacted_day):
                yield with_hashes_of(block, made)

    return ArrowRows(SEQUENCES, (Part(by_user.rows, snapshots),))


def _as_input(sessions: DataFrame) -> DataFrame:
    columns = {"is_seed": F.lit(False), "event_count": F.col("event_count").cast("bigint")}
    kept = ("user_id", "event_count", *LISTS, "source_session_id", "start_time", "is_seed")
    return sessions.withColumns(columns).select(*kept)


def _with_seeds(block: pa.Table, files: FilesOfUsers) -> pa.Table:
    seeds = files.latest_rows(block)
    return seeds_first(block, seeds.append_column("is_seed", pa.repeat(True, len(seeds))))
