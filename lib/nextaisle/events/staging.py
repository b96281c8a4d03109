"""From files, or from refused records, to a batch: read, staged, judged with what is stored, counted; unwritten."""

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from nextaisle.config import Settings, Source
from nextaisle.contract import reasons
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from nextaisle.events.batch import COUNTED_BY, LONGEST, Batch
from nextaisle.events.bots import RULE
from nextaisle.events.cleaning import (
    ACCEPTED,
    CONFLICTS,
    DUPLICATE,
    OUTCOME,
    TAKES_OVER,
    by_user,
    tally_of_new,
    tally_of_stored,
    with_event_id,
    with_identity,
    with_verdicts,
)
from nextaisle.events.files import SourceFile, days_delivered, files_of
from nextaisle.events.mapping import (
    BYTES,
    INGEST_DATE,
    MAPPED,
    TABLE_NAMES,
    last_plausible_day,
    map_records,
    mapped_schema,
    with_event_date,
    with_reason,
)
from nextaisle.events.policies import changes, filled_columns, refusals, with_policies
from nextaisle.events.records import IS_UNREADABLE, PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA, read_records
from nextaisle.events.rereading import KEPT_INGEST_DATE, reread_records
from nextaisle.events.stored import (
    IS_SET_APART,
    NEW,
    ORIGIN,
    STORED,
    STORED_OUTCOME,
    STORED_RULE,
    may_hold,
    stored_days,
    stored_events,
)
from nextaisle.events.unread import check_time_zone, files_delivering_again, source_key
from nextaisle.spark import local_rows, mapping_rules, naming_unreadable_files, staged, tasks_for_files
from nextaisle.storage.partitions import days_literal
from nextaisle.storage.store import Store

_RECORD_COLUMNS = (*EVENTS.names, PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA, BYTES, CONFLICTS, OUTCOME)


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
        days = days_delivered(store.spark, settings.source, files, first, last)
        check_time_zone(store.spark, settings.source, store, days)
        listed = _listed(store.spark, settings.source, files, last)
        is_replaced = F.col(INGEST_DATE).isin(*days)
        history = stored_events(store, ~is_replaced & may_hold(settings.events, days))
        fitted = _narrowly_staged(_fitted(settings, _dated(mapped, listed, days)), settings)
        tally = tally_of_new(fitted)
        new = with_identity(fitted, tally, history, settings.events, _has_ids(settings))
        if again := files_delivering_again(store, settings, new.where(F.col(OUTCOME) == ACCEPTED), days):
            return staged_batch(store, settings, [*files, *again], first, last)
        new = with_policies(new, settings.source.policies)
        before = stored_days(store, is_replaced)
        records, counted, touched = _judged(store, settings, new, tally, before, ~is_replaced)
        flags = tuple(changes(settings.source.policies))
        return Batch(
            records,
            counted,
            days,
            touched,
            is_replaced,
            listed,
            tuple(files),
            changes=flags,
            lacking=_null_columns(settings),
        )


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
    fitted = _narrowly_staged(_fitted(settings, _remapped(store.spark, settings, refused)), settings)
    tally = tally_of_new(fitted)
    of_days = stored.where(F.col(INGEST_DATE).isin(*days))
    new = with_identity(fitted, tally, stored, settings.events, _has_ids(settings), of_days)
    new = with_policies(new, settings.source.policies, of_days)
    records, counted, touched = _judged(store, settings, new, tally, [apart.select("event_date")], F.lit(True))
    replaces, flags = wanted & ~F.expr(IS_SET_APART), tuple(changes(settings.source.policies))
    lacking = _null_columns(settings)
    return Batch(records, counted, days, touched, replaces, is_replay=True, changes=flags, lacking=lacking)


def _has_ids(settings: Settings) -> bool:
    return "event_id" in settings.source.columns


def _mapped(spark: SparkSession, settings: Settings, files: Sequence[SourceFile]) -> DataFrame:
    source = settings.source
    # Spark takes a CSV without a byte for one without columns.
    files = [file for file in files if file.size or source.format != "csv"]
    if not files:
        return with_event_date(local_rows(spark, [], mapped_schema()), source.time_zone)
    with mapping_rules(spark, source.time_zone):
        mapped = map_records(read_records(spark, source, files), source)
    return with_event_date(mapped, source.time_zone)


def _remapped(spark: SparkSession, settings: Settings, refused: DataFrame) -> DataFrame:
    source = settings.source
    mapped = local_rows(spark, [], mapped_schema().add(KEPT_INGEST_DATE, "date"))
    with mapping_rules(spark, source.time_zone):
        for records in reread_records(refused, source):
            mapped = mapped.unionByName(map_records(records, source))
    return with_event_date(mapped, source.time_zone).withColumnRenamed(KEPT_INGEST_DATE, INGEST_DATE)


def _listed(spark: SparkSession, source: Source, files: Sequence[SourceFile], day: date | None) -> DataFrame:
    """The files as rows of source_files, not yet counted."""
    rows = [(file.path, file.size, file.modified_millis, file.day or day) for file in files]
    listed = local_rows(spark, rows, "path string, size bigint, millis bigint, ingest_date date")
    rules = {"source_key": F.lit(source_key(source)), "time_zone": F.lit(source.time_zone)}
    return listed.withColumns({"modified_time": F.timestamp_millis("millis"), **rules}).drop("millis")


def _dated(mapped: DataFrame, listed: DataFrame, found: Sequence[date]) -> DataFrame:
    if len(found) == 1:
        return mapped.withColumn(INGEST_DATE, F.lit(found[0]).cast("date"))
    days = listed.select(F.col("path").alias(PATH), INGEST_DATE)
    return mapped.join(F.broadcast(days), PATH, "left")


def _fitted(settings: Settings, mapped: DataFrame) -> DataFrame:
    source = settings.source
    return with_reason(with_event_id(mapped), settings.events, source.time_zone, refusals(source.policies))


def _narrowly_staged(fitted: DataFrame, settings: Settings) -> DataFrame:
    """Columns that the log has nothing for are not carried along: a row is copied some five times."""
    nothing = {name: F.lit(None).cast(fitted.schema[name].dataType) for name in _lacking(settings)}
    with tasks_for_files(fitted.sparkSession):
        return staged(fitted.drop(*nothing, IS_UNREADABLE), by_user()).withColumns(nothing)


def _lacking(settings: Settings) -> tuple[str, ...]:
    mapped = {TABLE_NAMES.get(name, name) for name in settings.source.columns} | {"event_id", "user_id"}
    return tuple(name for name in MAPPED if name not in mapped)


def _null_columns(settings: Settings) -> tuple[str, ...]:
    """Columns that the log has nothing for, and no policy fills."""
    return tuple(name for name in _lacking(settings) if name not in filled_columns(settings.source.policies))


def _wanted(settings: Settings, first: date | None, last: date | None) -> Column:
    """Rows of rejected_events that a replay reads; what an earlier one left on its way is always among them."""
    wanted = F.lit(True)
    if first and last:
        wanted = F.col(INGEST_DATE).between(F.lit(first), F.lit(last))
    if settings.replay.reasons:
        wanted = wanted & F.col("reason").isin(*settings.replay.reasons, reasons.REPLAYED)
    return wanted


def _judged(
    store: Store,
    settings: Settings,
    new: DataFrame,
    tally: DataFrame,
    before: Sequence[DataFrame],
    stays: Column,
) -> tuple[DataFrame, DataFrame, tuple[date, ...]]:
    """The records with their final outcomes, how many there are of each, and the days of events that they touch.

    Among the records are, of the days that they touch, all that is stored and stays. `before` are the days (event_date)
    of what does not. `tally` is of the new records.
    """
    nothing, flags = F.lit(None).cast("string"), changes(settings.source.policies)
    of_the_tables = {ORIGIN: F.lit(NEW), STORED_OUTCOME: nothing, STORED_RULE: nothing, RULE: nothing}
    records = new.select(*_RECORD_COLUMNS, *flags).withColumns(of_the_tables)
    counted = _counted(records, flags)
    touched = _event_dates(counted.where(F.col(OUTCOME) == ACCEPTED), *before)
    if not touched:
        return records, counted, touched
    others = stored_events(store, F.expr(days_literal("event_date", touched)) & stays)
    others = _without_taken(others, new.where(TAKES_OVER).select(*EVENTS.key)).withColumn(ORIGIN, F.lit(STORED))
    unjudged = records.unionByName(others, allowMissingColumns=True)
    judged = with_verdicts(unjudged, [tally, tally_of_stored(others)], settings)
    if judged is unjudged:
        # The new ones are counted already.
        stored = _counted(unjudged.where(F.col(ORIGIN) == STORED), flags)
        return judged, counted.unionByName(stored), touched
    return judged, _counted(judged, flags), touched


def _without_taken(others: DataFrame, taken: DataFrame) -> DataFrame:
    """Stored events with OUTCOME, but for those that arrived again for an earlier day of the logs, and move there.

    Of them one that was set apart stays, as a duplicate: so its own day of the logs counts as one whose rows change.
    """
    is_taken = F.col("is_taken").isNotNull()
    others = others.join(taken.withColumn("is_taken", F.lit(True)), list(EVENTS.key), "left")
    others = others.where(~is_taken | (F.col(STORED_OUTCOME) != ACCEPTED))
    outcome = F.when(is_taken, F.lit(DUPLICATE)).otherwise(F.lit(ACCEPTED))
    return others.withColumn(OUTCOME, outcome).drop("is_taken")


def _counted(records: DataFrame, flags: Sequence[str]) -> DataFrame:
    """COUNTED_BY, `count`, BYTES, and how many CONFLICTS and each flag hold for."""
    is_good = ~F.col(OUTCOME).isin(*reasons.OF_THE_RECORD, DUPLICATE)
    groups = records.withColumn("event_date", F.when(is_good, F.col("event_date"))).groupBy(*COUNTED_BY)
    names = [field.name for field in EVENTS.schema if isinstance(field.dataType, StringType)]
    texts = [F.coalesce(F.octet_length(name), F.lit(0)) for name in names]
    sizes = F.count("*").alias("count"), F.sum(BYTES).alias(BYTES), F.max(reduce(Column.__add__, texts)).alias(LONGEST)
    return staged(groups.agg(*sizes, *(F.count_if(name).alias(name) for name in (CONFLICTS, *flags))))


def _event_dates(*events: DataFrame) -> tuple[date, ...]:
    dates = reduce(DataFrame.unionAll, [each.select("event_date") for each in events])
    return tuple(sorted(row["event_date"] for row in dates.distinct().collect()))
