"""What is written of a night: rows of events, rejected_events and source_files, in an order that no kill can hurt."""

from contextlib import nullcontext
from datetime import date, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Events
from nextaisle.contract import reasons
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.events.batch import Batch
from nextaisle.events.bots import RULE
from nextaisle.events.cleaning import ACCEPTED, DUPLICATE, OUTCOME
from nextaisle.events.layout import laid_out
from nextaisle.events.mapping import INGEST_DATE
from nextaisle.events.records import PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA
from nextaisle.events.stored import (
    IS_SET_APART,
    NEW,
    ORIGIN,
    STORED,
    STORED_OUTCOME,
    STORED_RULE,
    set_apart,
)
from nextaisle.spark import arrow_batches
from nextaisle.storage.partitions import days_literal
from nextaisle.storage.store import Store


def publish(store: Store, batch: Batch, rules: Events) -> None:
    """Writes rejected_events, then events, then source_files: a file counts as read when all of it is there.

    An event that goes from one table to the other is in both before it leaves the first, and whoever reads both takes
    it once (stored.py). So the next run finds all of them, whatever moment this one was killed at. At the end what
    was refused more than rejected_days days of logs before the newest that brought an event is deleted.
    """
    newest = _newest(store, batch)
    oldest = newest - timedelta(days=rules.rejected_days - 1) if rules.rejected_days and newest else None
    if days := set(batch.days) | batch.moved_days:
        _publish(store, batch, days, oldest)
    if oldest:
        store.delete(REJECTED_EVENTS, f"{INGEST_DATE} < DATE'{oldest:%Y-%m-%d}'")


def _newest(store: Store, batch: Batch) -> date | None:
    """The newest day of logs with an event: a folder with a wrong day in its name makes nothing old."""
    others = store.read(SOURCE_FILES).where(~F.col(INGEST_DATE).isin(*batch.days)).where("accepted_count > 0")
    newest: date | None = others.agg(F.max(INGEST_DATE).alias("day")).collect()[0]["day"]
    return max((day for day in (newest, *batch.days_with_events) if day), default=None)


def _publish(store: Store, batch: Batch, days: set[date], oldest: date | None) -> None:
    where = days_literal(INGEST_DATE, days)
    rejected, leaving = _rejected(store, batch, where), _leaving(batch)
    if oldest:
        # An old day that is read again must not bring back what was deleted.
        rejected = rejected.where(F.col(INGEST_DATE) >= F.lit(oldest))
    store.replace(REJECTED_EVENTS, rejected.unionByName(leaving) if batch.has_leaving else rejected, where)
    _publish_events(store, batch)
    if batch.has_leaving:
        store.replace(REJECTED_EVENTS, rejected, where)
    if batch.files is not None:
        # With them go files that no longer stand for a day: one that comes back is read again.
        store.merge(SOURCE_FILES, _files(batch, batch.files), days_literal(INGEST_DATE, batch.days))


def _publish_events(store: Store, batch: Batch) -> None:
    """The days that the batch touches, now or when it was read before, hold all that is good of them."""
    if not batch.touched:
        return
    accepted = batch.records.where(F.col(OUTCOME) == ACCEPTED)
    rows = laid_out(accepted, batch.accepted_of_day, batch.days_with_stored, batch.lacking)
    # For each row Spark asks how large its batch is by then, which takes longer than to fill it.
    with arrow_batches(store.spark, megabytes=64) if batch.has_long else nullcontext():
        store.replace(EVENTS, rows, days_literal("event_date", batch.touched))


def _rejected(store: Store, batch: Batch, where: str) -> DataFrame:
    """The rows of rejected_events of the days that change: those of the batch, and what others brought and stays."""
    stored = store.read(REJECTED_EVENTS).where(where)
    is_judged = F.expr(IS_SET_APART) & F.col("event.event_date").isin(*batch.touched)
    kept = stored.where(~F.coalesce(batch.replaces | is_judged, F.lit(False)))
    if not batch.has_rejected:
        return kept
    refused = kept.where(f"NOT ({IS_SET_APART})").unionByName(_refused(batch))
    is_apart = F.col(OUTCOME).isin(reasons.BOT, reasons.OVER_THE_CAP)
    apart = set_apart(batch.records.where(is_apart).where(where).withColumnRenamed(OUTCOME, "reason"))
    return _numbered(refused).unionByName(kept.where(IS_SET_APART)).unionByName(apart)


def _refused(batch: Batch) -> DataFrame:
    """Records of the batch that were refused for what they are."""
    refused = batch.records.where((F.col(ORIGIN) == NEW) & F.col(OUTCOME).isin(*reasons.OF_THE_RECORD))
    known = {
        "path": F.col(PATH),
        "record_hash": F.sha2(RECORD, 256),
        "ordinal": F.lit(0),
        "reason": F.col(OUTCOME),
        "record": F.col(RECORD),
        "event_time": F.col("event_time"),
        INGEST_DATE: F.col(INGEST_DATE),
        "record_schema": F.col(RECORD_SCHEMA),
        "row": F.col(ROW),
        "row_schema": F.col(ROW_SCHEMA),
    }
    columns = [
        known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in REJECTED_EVENTS.schema
    ]
    return refused.select(*columns)


def _numbered(refused: DataFrame) -> DataFrame:
    order = ("reason", F.col("event_time").asc_nulls_first(), F.col("row").asc_nulls_first())
    same = Window.partitionBy(INGEST_DATE, "path", "record_hash").orderBy(*order)
    return refused.withColumn("ordinal", F.row_number().over(same))


def _leaving(batch: Batch) -> DataFrame:
    """Events on their way from rejected_events to events, as rows of the former that hold them meanwhile."""
    is_on_its_way = (F.col(ORIGIN) == STORED) & (F.col(STORED_OUTCOME) != ACCEPTED)
    if batch.is_replay:
        is_on_its_way = is_on_its_way | (F.col(ORIGIN) == NEW)
    leaving = batch.records.where((F.col(OUTCOME) == ACCEPTED) & is_on_its_way)
    as_stored = {"reason": F.coalesce(STORED_OUTCOME, F.lit(reasons.REPLAYED)), RULE: F.col(STORED_RULE)}
    return set_apart(leaving.withColumns(as_stored))


def _files(batch: Batch, files: DataFrame) -> DataFrame:
    count, outcome = F.col("count"), F.col(OUTCOME)
    counts = (
        batch.counted.where(F.col(ORIGIN) == NEW)
        .groupBy(F.col(PATH).alias("path"))
        .agg(
            F.sum(count).alias("record_count"),
            F.sum(count * (outcome == ACCEPTED).cast("int")).alias("accepted_count"),
            F.sum(count * outcome.isin(*reasons.REASONS).cast("int")).alias("rejected_count"),
            F.sum(count * (outcome == DUPLICATE).cast("int")).alias("duplicate_count"),
        )
    )
    rows = files.join(counts, "path", "left")
    return rows.select(
        *[
            F.coalesce(name, F.lit(0)).alias(name) if name.endswith("_count") else F.col(name)
            for name in SOURCE_FILES.names
        ]
    )
