"""A night's records with their outcomes, before anything is written: read, judged with what is stored, and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, reduce

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Settings, Source
from nextaisle.contract import reasons
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from nextaisle.events.bots import RULE
from nextaisle.events.cleaning import (
    ACCEPTED,
    CONFLICTS,
    DUPLICATE,
    OUTCOME,
    TAKES_OVER,
    with_hash,
    with_identity,
    with_verdicts,
)
from nextaisle.events.files import SourceFile, days_of, files_of
from nextaisle.events.mapping import (
    BYTES,
    INGEST_DATE,
    ORDER,
    last_plausible_day,
    map_records,
    mapped_schema,
    with_event_date,
    with_reason,
)
from nextaisle.events.policies import changes, refusals, with_policies
from nextaisle.events.records import PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA, read_records
from nextaisle.events.rereading import KEPT_INGEST_DATE, reread_records
from nextaisle.events.stored import (
    IS_SET_APART,
    NEW,
    ORIGIN,
    STORED,
    STORED_OUTCOME,
    STORED_RULE,
    days_literal,
    may_hold,
    stored_days,
    stored_events,
)
from nextaisle.events.unread import check_time_zone, files_delivering_again, source_key
from nextaisle.spark import mapping_rules, naming_unreadable_files, staged
from nextaisle.store import Store

_RECORD_COLUMNS = (*EVENTS.names, PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA, BYTES, CONFLICTS, OUTCOME)
# What a batch is counted by; the event_date is that of good records only, as others may name any day.
COUNTED_BY = (PATH, ORIGIN, INGEST_DATE, OUTCOME, RULE, STORED_OUTCOME, STORED_RULE, "event_date")


@dataclass(frozen=True)
class Batch:
    """A night's records and all events that are stored of the days that they touch, each with its outcome."""

    records: DataFrame
    counted: DataFrame  # how many of them there are, by file, day and outcome
    days: tuple[date, ...]  # of the logs, whose refused records change
    touched: tuple[date, ...]  # event_dates, whose events change
    replaces: Column  # which rows of rejected_events the records stand for
    files: DataFrame | None = None  # rows of source_files, not yet counted; None where none were read
    sources: tuple[SourceFile, ...] = ()  # the same as they were listed
    is_replay: bool = False
    changes: tuple[str, ...] = ()  # flags of records that [source.policies] changed

    @cached_property
    def groups(self) -> list[Row]:
        """`counted` without the files: a few rows for each day."""
        groups = self.counted.groupBy(*(name for name in COUNTED_BY if name != PATH))
        return groups.agg(*(F.sum(name).alias(name) for name in ("count", BYTES, CONFLICTS, *self.changes))).collect()

    @property
    def _moved(self) -> list[Row]:
        """Of stored events those that another outcome than theirs awaits."""
        stored = [row for row in self.groups if row[ORIGIN] == STORED]
        return [row for row in stored if (row[OUTCOME], row[RULE]) != (row[STORED_OUTCOME], row[STORED_RULE])]

    @property
    def moved_days(self) -> set[date]:
        """Days of the logs whose stored events move between events and rejected_events."""
        return {row[INGEST_DATE] for row in self._moved}

    @property
    def has_rejected(self) -> bool:
        """Whether anything of the batch, or of what is stored of its days, belongs in rejected_events."""
        return any(row[OUTCOME] in reasons.REASONS for row in self.groups)

    @property
    def has_leaving(self) -> bool:
        """Whether events leave rejected_events for events."""
        leaving = [row for row in self._moved if row[OUTCOME] == ACCEPTED]
        replayed = [row for row in self.groups if self.is_replay and (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)]
        return bool(leaving or replayed)

    @property
    def days_with_events(self) -> set[date]:
        """Days of the logs that brought events in this batch."""
        return {row[INGEST_DATE] for row in self.groups if (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)}

    @property
    def accepted_of_day(self) -> dict[date, int]:
        counts: dict[date, int] = {}
        for row in self.groups:
            if row[OUTCOME] == ACCEPTED:
                counts[row["event_date"]] = counts.get(row["event_date"], 0) + row["count"]
        return counts

    @property
    def by_outcome(self) -> dict[str, int]:
        """The batch's own records, which add up because each has exactly one outcome."""
        counts: dict[str, int] = {}
        for row in sorted(self.groups, key=lambda row: row[OUTCOME]):
            if row[ORIGIN] == NEW:
                counts[row[OUTCOME]] = counts.get(row[OUTCOME], 0) + row["count"]
        return counts

    @property
    def changed(self) -> dict[str, int]:
        """How many of the batch's events have a value that the log did not give them, as {"filled_price": 3}."""
        events = [row for row in self.groups if (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)]
        return {name: sum(row[name] for row in events) for name in self.changes}

    def counts(self) -> dict[str, int]:
        """As a job reports them; what moved are events of earlier nights, beside the batch's records."""
        by_outcome = self.by_outcome
        accepted, duplicates = by_outcome.pop(ACCEPTED, 0), by_outcome.pop(DUPLICATE, 0)
        rejected = sum(by_outcome.values())
        withdrawn = sum(row["count"] for row in self._moved if row[STORED_OUTCOME] == ACCEPTED)
        restored = sum(row["count"] for row in self._moved if row[OUTCOME] == ACCEPTED)
        moved = {"withdrawn": withdrawn, "restored": restored}
        return {
            "records": accepted + rejected + duplicates, "accepted": accepted, "rejected": rejected,
            "duplicates": duplicates, **{f"rejected_{reason}": count for reason, count in by_outcome.items()},
            **{name: count for name, count in (self.changed | moved).items() if count},
        }  # fmt: skip


def staged_batch(
    store: Store, settings: Settings, files: Sequence[SourceFile], first: date | None, last: date | None
) -> Batch:
    """Reads and judges the files of a night; `last` is the day of files whose paths name none.

    Raises:
        InputError: a file cannot be read to its end.
    """
    with naming_unreadable_files():
        mapped = _mapped(store.spark, settings, files)
        if last is None and files and files[0].day is None:
            last = first = last_plausible_day(mapped, settings.events)
            # Other files may have been read for that day before; the day is replaced as a whole.
            files = files_of(store.spark, settings.source, store, first, last)
            mapped = _mapped(store.spark, settings, files)
        days = days_of(store.spark, settings.source, files, first, last)
        check_time_zone(store.spark, settings.source, store, days)
        listed = _listed(store.spark, settings.source, files, last)
        is_replaced = F.col(INGEST_DATE).isin(*days)
        history = stored_events(store, ~is_replaced & may_hold(settings.events, days))
        fitted = _fitted(settings, _dated(mapped, listed, days))
        new = with_identity(staged(fitted, ORDER), history, settings.events, _has_ids(settings))
        if again := files_delivering_again(store, settings, new.where(F.col(OUTCOME) == ACCEPTED), days):
            return staged_batch(store, settings, [*files, *again], first, last)
        new = with_policies(new, settings.source.policies)
        before = stored_days(store, is_replaced)
        records, counted, touched = _judged(store, settings, new, before, ~is_replaced)
        flags = tuple(changes(settings.source.policies))
        return Batch(records, counted, days, touched, is_replaced, listed, tuple(files), changes=flags)


def replayed_batch(store: Store, settings: Settings, first: date | None, last: date | None) -> Batch:
    """Reads refused records of some days of the logs again from rejected_events, and judges them and bots' days anew.

    Nothing is known of records that were dropped as repetitions. So among identical records of a log without ids, of
    which a later day of the logs repeats some and holds refused ones too, one may pass for a repetition.
    """
    wanted = _wanted(settings, first, last)
    rows = store.read(REJECTED_EVENTS).where(wanted)
    refused, apart = rows.where(f"NOT ({IS_SET_APART})"), rows.where(IS_SET_APART).select("event.*")
    days = tuple(row[INGEST_DATE] for row in refused.select(INGEST_DATE).distinct().orderBy(INGEST_DATE).collect())
    stored = stored_events(store, may_hold(settings.events, days))
    fitted = _fitted(settings, _remapped(store.spark, settings, refused))
    of_days = stored.where(F.col(INGEST_DATE).isin(*days))
    new = with_identity(staged(fitted, ORDER), stored, settings.events, _has_ids(settings), of_days)
    new = with_policies(new, settings.source.policies, of_days)
    records, counted, touched = _judged(store, settings, new, [apart.select("event_date")], F.lit(True))
    replaces, flags = wanted & ~F.expr(IS_SET_APART), tuple(changes(settings.source.policies))
    return Batch(records, counted, days, touched, replaces, is_replay=True, changes=flags)


def _has_ids(settings: Settings) -> bool:
    return "event_id" in settings.source.columns


def _mapped(spark: SparkSession, settings: Settings, files: Sequence[SourceFile]) -> DataFrame:
    source = settings.source
    # Spark takes a CSV without a byte for one without columns.
    files = [file for file in files if file.size or source.format != "csv"]
    if not files:
        return with_event_date(spark.createDataFrame([], mapped_schema()), source.time_zone)
    with mapping_rules(spark, source.time_zone):
        mapped = map_records(read_records(spark, source, files), source)
    return with_event_date(mapped, source.time_zone)


def _remapped(spark: SparkSession, settings: Settings, refused: DataFrame) -> DataFrame:
    source = settings.source
    mapped = spark.createDataFrame([], mapped_schema().add(KEPT_INGEST_DATE, "date"))
    with mapping_rules(spark, source.time_zone):
        for records in reread_records(refused, source):
            mapped = mapped.unionByName(map_records(records, source))
    return with_event_date(mapped, source.time_zone).withColumnRenamed(KEPT_INGEST_DATE, INGEST_DATE)


def _listed(spark: SparkSession, source: Source, files: Sequence[SourceFile], day: date | None) -> DataFrame:
    """The files as rows of source_files, not yet counted."""
    rows = [(file.path, file.size, file.modified_millis, file.day or day) for file in files]
    listed = spark.createDataFrame(rows, "path string, size bigint, millis bigint, ingest_date date")
    rules = {"source_key": F.lit(source_key(source)), "time_zone": F.lit(source.time_zone)}
    return listed.withColumns({"modified_time": F.timestamp_millis("millis"), **rules}).drop("millis")


def _dated(mapped: DataFrame, listed: DataFrame, found: Sequence[date]) -> DataFrame:
    if len(found) == 1:
        return mapped.withColumn(INGEST_DATE, F.lit(found[0]).cast("date"))
    days = listed.select(F.col("path").alias(PATH), INGEST_DATE)
    return mapped.join(F.broadcast(days), PATH, "left")


def _fitted(settings: Settings, mapped: DataFrame) -> DataFrame:
    source = settings.source
    return with_reason(with_hash(mapped), settings.events, source.time_zone, refusals(source.policies))


def _wanted(settings: Settings, first: date | None, last: date | None) -> Column:
    """Rows of rejected_events that a replay reads; what an earlier one left on its way is always among them."""
    wanted = F.lit(True)
    if first and last:
        wanted = F.col(INGEST_DATE).between(F.lit(first), F.lit(last))
    if settings.replay.reasons:
        wanted = wanted & F.col("reason").isin(*settings.replay.reasons, reasons.REPLAYED)
    return wanted


def _judged(
    store: Store, settings: Settings, new: DataFrame, before: Sequence[DataFrame], stays: Column
) -> tuple[DataFrame, DataFrame, tuple[date, ...]]:
    """The records with their final outcomes, how many there are of each, and the days of events that they touch.

    Among the records are, of the days that they touch, all that is stored and stays. `before` are the days (event_date)
    of what does not.
    """
    nothing, flags = F.lit(None).cast("string"), changes(settings.source.policies)
    of_the_tables = {ORIGIN: F.lit(NEW), STORED_OUTCOME: nothing, STORED_RULE: nothing, RULE: nothing}
    records = new.select(*_RECORD_COLUMNS, *flags).withColumns(of_the_tables)
    counted = _counted(records, flags)
    touched = _days_of(counted.where(F.col(OUTCOME) == ACCEPTED), *before)
    if not touched:
        return records, counted, touched
    others = stored_events(store, F.expr(days_literal("event_date", touched)) & stays)
    # An event that arrived again, for an earlier day of the logs than the one that keeps it now, moves there.
    taken = new.where(TAKES_OVER).select(*EVENTS.key)
    others = others.join(taken, list(EVENTS.key), "left_anti")
    others = others.withColumns({OUTCOME: F.lit(ACCEPTED), ORIGIN: F.lit(STORED)})
    unjudged = records.unionByName(others, allowMissingColumns=True)
    judged = with_verdicts(unjudged, settings)
    if judged is unjudged:
        # The new ones are counted already.
        stored = _counted(unjudged.where(F.col(ORIGIN) == STORED), flags)
        return judged, counted.unionByName(stored), touched
    return judged, _counted(judged, flags), touched


def _counted(records: DataFrame, flags: Sequence[str]) -> DataFrame:
    """COUNTED_BY, `count`, BYTES, and how many CONFLICTS and each flag hold for; in one pass over the records."""
    is_good = ~F.col(OUTCOME).isin(*reasons.OF_THE_RECORD, DUPLICATE)
    groups = records.withColumn("event_date", F.when(is_good, F.col("event_date"))).groupBy(*COUNTED_BY)
    sizes = F.count("*").alias("count"), F.sum(BYTES).alias(BYTES)
    return staged(groups.agg(*sizes, *(F.count_if(name).alias(name) for name in (CONFLICTS, *flags))))


def _days_of(*events: DataFrame) -> tuple[date, ...]:
    dates = reduce(DataFrame.unionAll, [each.select("event_date") for each in events])
    return tuple(sorted(row["event_date"] for row in dates.distinct().collect()))
