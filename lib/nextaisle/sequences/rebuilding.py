"""Sessions to rows of the table sequences: one shuffle by user, then the kernel of snapshots.py."""

from collections.abc import Iterator
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import SEQUENCES
from nextaisle.days import day_number
from nextaisle.kernels import ArrowRows, Batches, Part
from nextaisle.packing import packed, packed_schema, unpacked
from nextaisle.sequences.histories import events_in, whole_users
from nextaisle.sequences.snapshots import sequence_rows
from nextaisle.sequences.vocabulary import Lookup
from nextaisle.spark import staged, tasks_for_files

# What is taken of a seed, a row of sequences.
SEED: Final = SEQUENCES.carried
_LISTS: Final = ("item_ids", "event_types", "event_times", "prices")
_STARTS: Final = "is_session_start"
# Columns of a seed's lists, packed, beside a session's own.
_PACKED: Final = "seed_"


def rows_by_user(sessions: DataFrame, seeds: ArrowRows) -> DataFrame:
    """What `rebuild_sequences` goes by: sessions since a day, and of their users the latest row (SEED) before it.

    Fetched and shuffled at once, so that this can be done beside other work.
    """
    rows = _as_input(sessions).unionByName(_as_seeds(seeds), allowMissingColumns=True)
    with tasks_for_files(sessions.sparkSession):
        by_hash = staged(rows.withColumn("user_hash", F.xxhash64("user_id")), "user_hash")
    # A seed has no start_time, so it comes first.
    return by_hash.sortWithinPartitions("user_hash", "user_id", "start_time").drop("user_hash", "start_time")


def rebuild_sequences(
    by_user: DataFrame, vocabulary: Lookup, first: date, through: date, settings: Settings
) -> ArrowRows:
    """Rows of sequences for the days from `first` on, of the users of `by_user` (`rows_by_user`).

    Their sessions are those since `first` (`changed_sessions`), which lies after `through`, the last day that is
    compacted, or is EVERYTHING.
    """
    zone, max_events = settings.source.time_zone, settings.sequences.max_events
    lookup = by_user.sparkSession.sparkContext.broadcast(vocabulary)
    first_day = day_number(first)
    compacted_day = day_number(through) if first == EVERYTHING else None
    lists = to_arrow_schema(SEQUENCES.only(SEED).schema)

    def snapshots(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in whole_users(batches, _events_in):
            rows = _with_lists(block, lists)
            yield from sequence_rows(rows, lookup.value, zone, first_day, max_events, compacted_day)

    return ArrowRows(SEQUENCES, (Part(by_user, snapshots),))


def _as_input(sessions: DataFrame) -> DataFrame:
    columns = {"is_seed": F.lit(False), "event_count": F.col("event_count").cast("bigint")}
    kept = ("user_id", "event_count", *_LISTS, "source_session_id", "start_time", "is_seed")
    return sessions.withColumns(columns).select(*kept)


def _as_seeds(seeds: ArrowRows) -> DataFrame:
    def pack(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield packed(batch)

    kinds = from_arrow_schema(packed_schema(to_arrow_schema(seeds.table.schema)))
    rows = seeds.map(pack, kinds)
    plain = {"user_id", "event_count"}
    named = [F.col(name).alias(name if name in plain else _PACKED + name) for name in rows.columns]
    return rows.select(*named).withColumn("is_seed", F.lit(True))


def _events_in(rows: pa.RecordBatch | pa.Table) -> int:
    seeds = pc.sum(pc.binary_length(rows.column(_PACKED + _STARTS))).as_py() or 0
    return seeds + events_in(rows)


def _with_lists(rows: pa.Table, kinds: pa.Schema) -> pa.Table:
    """The rows with a seed's lists among the sessions'; a session says nothing in is_session_start."""
    of_seeds = {name: unpacked(rows, _PACKED + name, kinds.field(name).type) for name in (*_LISTS, _STARTS)}
    is_seed = rows["is_seed"].combine_chunks()
    whole = {name: pc.if_else(is_seed, of_seeds[name], rows[name].combine_chunks()) for name in _LISTS} | {
        _STARTS: of_seeds[_STARTS]
    }
    plain = ("user_id", "event_count", "source_session_id", "is_seed")
    return pa.table({name: rows[name] for name in plain} | whole)
