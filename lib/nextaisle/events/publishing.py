"""From a night's files to its rows of events, rejected_events and source_files, counted before anything is written."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from nextaisle.config import Events, Settings
from nextaisle.contract.errors import GateError, InputError, NextaisleError
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES, Table
from nextaisle.events.cleaning import ACCEPTED, DUPLICATE, OUTCOME, with_cap, with_event_id, with_outcome
from nextaisle.events.files import SourceFile, files_of
from nextaisle.events.mapping import (
    INGEST_DATE,
    last_plausible_day,
    map_records,
    mapped_schema,
    with_event_date,
    with_reason,
)
from nextaisle.events.records import PATH, RECORD, read_records
from nextaisle.spark import mapping_rules
from nextaisle.store import Store

# What Spark says of a file that ends too soon or is not what its name promises.
_UNREADABLE_FILE = ("FAILED_READ_FILE", "EOFException", "ZipException", "incorrect header check", "FILE_NOT_EXIST")
_OTHER_HEADER = "CSV header does not conform to the schema"

# A day with more is kept in several files, a hash bucket of users each: about 64 MB.
_EVENTS_PER_FILE = 2_000_000


@dataclass(frozen=True)
class Batch:
    """A night's records with their outcomes, read once and staged on disk, and the files that they came from."""

    records: DataFrame
    files: DataFrame
    days: tuple[date, ...]


@contextmanager
def staged_batch(
    store: Store, settings: Settings, files: Sequence[SourceFile], first: date | None, last: date | None
) -> Iterator[Batch]:
    """Reads and judges the files of a night; `last` is the day of files whose paths name none.

    Raises:
        InputError: a file cannot be read to its end.
    """
    with _naming_unreadable_files():
        mapped = _mapped(store.spark, settings, files)
        if last is None and files and files[0].day is None:
            last = first = last_plausible_day(mapped, settings.events)
            # Other files may have been read for that day before; the day is replaced as a whole.
            files = files_of(store.spark, settings.source, store, first, last)
            mapped = _mapped(store.spark, settings, files)
        listed = _listed(store.spark, files, last)
        staged = _judged(store, settings, _dated(mapped, listed), listed).persist(StorageLevel.DISK_ONLY)
        try:
            # A day that was asked for and has no file any more is a day without events.
            days = {file.day or last for file in files} | ({last} if first == last else set())
            yield Batch(with_cap(staged, settings.events), listed, tuple(sorted(day for day in days if day)))
        finally:
            staged.unpersist()


def counted(batch: Batch, rules: Events) -> dict[str, int]:
    """Records by outcome; they add up, because each has exactly one.

    Raises:
        GateError: a larger share than max_rejected_share was refused.
    """
    by_outcome = {
        row[OUTCOME]: row["count"] for row in batch.records.groupBy(OUTCOME).count().orderBy(OUTCOME).collect()
    }
    accepted, duplicates = by_outcome.pop(ACCEPTED, 0), by_outcome.pop(DUPLICATE, 0)
    rejected = sum(by_outcome.values())
    records = accepted + duplicates + rejected
    if records and rejected / records > rules.max_rejected_share:
        raise GateError(
            f"{rejected:,} of {records:,} records were refused ({by_outcome}), more than events.max_rejected_share = "
            f"{rules.max_rejected_share} allows; nothing was published. Mend the mapping or the logs, or raise it"
        )
    reasons = {f"rejected_{reason}": count for reason, count in by_outcome.items()}
    return {"records": records, "accepted": accepted, "rejected": rejected, "duplicates": duplicates, **reasons}


def publish(store: Store, batch: Batch) -> None:
    """Writes events, then rejected_events, then source_files: a file counts as read when all of it is there."""
    if not batch.days:
        return
    first, last = batch.days[0], batch.days[-1]
    _publish_events(store, batch)
    store.replace_days(REJECTED_EVENTS, _kept(store, REJECTED_EVENTS, batch, _rejected(batch)), first, last)
    store.merge(SOURCE_FILES, _files(batch))


def _mapped(spark: SparkSession, settings: Settings, files: Sequence[SourceFile]) -> DataFrame:
    source = settings.source
    if not files:
        return with_event_date(spark.createDataFrame([], mapped_schema()), source.time_zone)
    with mapping_rules(spark, source.time_zone):
        mapped = map_records(read_records(spark, source, files), source)
    return with_event_date(mapped, source.time_zone)


def _listed(spark: SparkSession, files: Sequence[SourceFile], day: date | None) -> DataFrame:
    """The files as rows of source_files, not yet counted."""
    rows = [(file.path, file.size, file.modified_millis, file.day or day) for file in files]
    listed = spark.createDataFrame(rows, "path string, size bigint, millis bigint, ingest_date date")
    return listed.withColumn("modified_time", F.timestamp_millis("millis")).drop("millis")


def _dated(mapped: DataFrame, listed: DataFrame) -> DataFrame:
    days = listed.select(F.col("path").alias(PATH), INGEST_DATE)
    return mapped.join(F.broadcast(days), PATH, "left")


def _judged(store: Store, settings: Settings, mapped: DataFrame, listed: DataFrame) -> DataFrame:
    rules, source = settings.events, settings.source
    identified = with_event_id(mapped, rules, "event_id" in source.columns)
    judged = with_reason(identified, rules, source.time_zone)
    return with_outcome(judged, _history(store, rules, listed), rules)


def _history(store: Store, rules: Events, listed: DataFrame) -> DataFrame | None:
    """What other days of the logs brought, for the days on which this batch's events may lie."""
    if not store.exists(EVENTS):
        return None
    bounds = listed.agg(F.min(INGEST_DATE).alias("first"), F.max(INGEST_DATE).alias("last")).collect()[0]
    if bounds["first"] is None:
        return None
    events = store.read(EVENTS).where(F.col("event_date") <= F.date_add(F.lit(bounds["last"]), 1))
    if rules.max_late_days:
        events = events.where(F.col("event_date") >= F.date_sub(F.lit(bounds["first"]), rules.max_late_days))
    days = F.broadcast(listed.select(INGEST_DATE).distinct())
    return events.join(days, INGEST_DATE, "left_anti").select("event_id", "event_date", INGEST_DATE)


def _publish_events(store: Store, batch: Batch) -> None:
    """The days that the batch touches, now or when it was read before, hold their other events and the batch's."""
    new = batch.records.where(F.col(OUTCOME) == ACCEPTED).select(EVENTS.names)
    stored = store.read(EVENTS)
    is_of_batch = F.col(INGEST_DATE).isin(*batch.days)
    touched_before = stored.where(is_of_batch)
    now_or_before = new.select("event_date").unionAll(touched_before.select("event_date"))
    counts = {row["event_date"]: row["count"] for row in now_or_before.groupBy("event_date").count().collect()}
    if not counts:
        return
    touched = sorted(counts)
    is_touched = F.col("event_date").isin(touched)
    others = stored.where(is_touched & ~is_of_batch)
    # An event that arrived again today, earlier than the day that keeps it now, moves to today.
    others = others.join(new.select(*EVENTS.key), list(EVENTS.key), "left_anti").select(EVENTS.names)
    literals = ", ".join(f"DATE'{day:%Y-%m-%d}'" for day in touched)
    buckets = 1 + max(counts.values()) // _EVENTS_PER_FILE
    store.replace(EVENTS, _laid_out(others.unionByName(new), buckets), f"event_date IN ({literals})")


def _laid_out(events: DataFrame, buckets: int) -> DataFrame:
    """Few files a day, a user's events together: sorted columns are small, and a night's work on a user is local."""
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(buckets))
    order = ("event_date", "user_id", "event_time", "event_id")
    return events.repartition("event_date", bucket).sortWithinPartitions(*order)


def _rejected(batch: Batch) -> DataFrame:
    refused = batch.records.where(~F.col(OUTCOME).isin(ACCEPTED, DUPLICATE))
    hashed = refused.withColumn("record_hash", F.sha2(RECORD, 256))
    ordinal = F.row_number().over(
        Window.partitionBy(PATH, "record_hash").orderBy(OUTCOME, F.col("event_time").asc_nulls_first())
    )
    return hashed.select(
        F.col(PATH).alias("path"), "record_hash", ordinal.alias("ordinal"), F.col(OUTCOME).alias("reason"),
        F.col(RECORD).alias("record"), "event_time", INGEST_DATE,
    )  # fmt: skip


def _kept(store: Store, table: Table, batch: Batch, rows: DataFrame) -> DataFrame:
    """`rows`, and what the table holds of days that lie between the batch's without being its own."""
    between = store.read(table).where(F.col(INGEST_DATE).between(F.lit(batch.days[0]), F.lit(batch.days[-1])))
    return between.where(~F.col(INGEST_DATE).isin(*batch.days)).select(table.names).unionByName(rows)


def _files(batch: Batch) -> DataFrame:
    outcome = F.col(OUTCOME)
    counts = batch.records.groupBy(F.col(PATH).alias("path")).agg(
        F.count("*").alias("record_count"),
        F.count_if(outcome == ACCEPTED).alias("accepted_count"),
        F.count_if(~outcome.isin(ACCEPTED, DUPLICATE)).alias("rejected_count"),
        F.count_if(outcome == DUPLICATE).alias("duplicate_count"),
    )
    rows = batch.files.join(counts, "path", "left")
    return rows.select(
        *[
            F.coalesce(name, F.lit(0)).alias(name) if name.endswith("_count") else F.col(name)
            for name in SOURCE_FILES.names
        ]
    )


@contextmanager
def _naming_unreadable_files() -> Iterator[None]:
    try:
        yield
    except NextaisleError:
        raise
    except (Py4JError, PySparkException) as error:
        text = str(error)
        if _OTHER_HEADER in text:
            raise InputError(
                "a CSV file has another header than the first: give source.schema, or bring files of one header at a "
                f"time. Nothing was published. {text[text.index(_OTHER_HEADER) :][:500]}"
            ) from error
        if not any(sign in text for sign in _UNREADABLE_FILE):
            raise
        named = re.search(r"(?:file|hdfs|s3a?|abfss?|gs):/[^\s,;'\"]+", text)
        raise InputError(
            f"{named.group() if named else 'a file of the logs'} cannot be read to its end: is it cut short, or not "
            "what its name says? Nothing was published; bring the file whole and run again"
        ) from error
