"""Records to the columns of events, and the reason why a record is refused."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DataType,
    DoubleType,
    NumericType,
    StringType,
    StructField,
    StructType,
)

from nextaisle.config import Events, Source
from nextaisle.contract import reasons
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.tables import EVENTS
from nextaisle.contract.tokens import EVENT_TYPES, EVENT_TYPES_WITHOUT_ITEM
from nextaisle.events.records import IS_UNREADABLE, OURS, PATH, RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA

INGEST_DATE: Final = "ingest_date"
REASON: Final = "reason"
# A hash of the record: which of several that say the same comes first, whatever order they were read in.
ORDER: Final = f"{OURS}_order"
# How long the record is, as it is kept.
BYTES: Final = f"{OURS}_bytes"
_REQUIRED = ("user_id", "event_type", "event_time")
# Our word in the overlay, where the table has another.
TABLE_NAMES: Final = {"session_id": "source_session_id"}
# What the mapping fills; the rest of the table is derived.
MAPPED: Final = tuple(name for name in EVENTS.names if name not in ("event_date", INGEST_DATE))
_EPOCH = date(1970, 1, 1)
# Spark reads a time of day alone as one of today; no job asks the clock which day it is.
_BEGINS_WITH_YEAR = r"^\s*\d{4}"


def map_records(records: DataFrame, source: Source) -> DataFrame:
    """The mapped columns, of the table's types, beside those of ours.

    Called under `spark.mapping_rules`: what cannot be cast is null, so a price that is no number is unknown, and a time
    without a zone, be it a text, a TIMESTAMP_NTZ or a DATE, is a local one of source.time_zone.

    Raises:
        ConfigurationError: an expression names a column that the log lacks, or a time is a bare number.
    """
    missing = [name for name in _REQUIRED if name not in source.columns]
    if missing:
        raise ConfigurationError(f"source.columns lacks {', '.join(missing)}; map each to a column of the log")
    expressions = {TABLE_NAMES.get(name, name): text for name, text in source.columns.items()}
    types = {field.name: field.dataType for field in EVENTS.schema}
    columns = []
    for name in MAPPED:
        text = expressions.get(name)
        column = F.lit(None).cast(types[name]) if text is None else _mapped(records, name, text, types[name])
        columns.append((_translated(column, source.event_types) if name == "event_type" else column).alias(name))
    return records.select(*columns, *(name for name in records.columns if name.startswith(OURS)))


def mapped_schema() -> StructType:
    """What `map_records` gives, for a day without a file."""
    mapped = [StructField(field.name, field.dataType) for field in EVENTS.schema if field.name in MAPPED]
    ours = (
        (PATH, StringType()), (RECORD, BinaryType()), (RECORD_SCHEMA, StringType()), (IS_UNREADABLE, BooleanType()),
        (ROW, StringType()), (ROW_SCHEMA, StringType()),
    )  # fmt: skip
    return StructType([*mapped, *(StructField(name, kind) for name, kind in ours)])


def _mapped(records: DataFrame, name: str, text: str, wanted: DataType) -> Column:
    try:
        found = records.select(F.expr(text).alias(name)).schema[name].dataType
    except AnalysisException as error:
        has = [column for column in records.columns if not column.startswith(OURS)]
        raise ConfigurationError(
            f"source.columns.{name} = {text!r} does not fit the log, which has the columns {has}: {error.getMessage()}"
        ) from error
    if name == "event_time":
        return _instant(F.expr(text), found)
    if isinstance(wanted, StringType):
        return _text(F.expr(text))
    value = F.expr(text).try_cast(wanted)
    # NaN would count as more than any rating.
    return F.when(F.abs(value) < float("inf"), value) if isinstance(wanted, DoubleType) else value


def _text(value: Column) -> Column:
    """Without blanks around it. One with bytes that are no UTF-8, or stand-ins that Spark put for them, is unknown."""
    trimmed = F.trim(F.try_validate_utf8(value.cast("string")))
    return F.when((trimmed != "") & ~F.contains(trimmed, F.lit("\ufffd")), trimmed)


def _translated(word: Column, types: Mapping[str, str]) -> Column:
    """The log's words in ours; a word that is not in the table stays, and so does one in other letters, as `Cart`."""
    if not types:
        return word
    table = F.create_map(*(F.lit(text) for pair in types.items() for text in pair))
    # Outside ANSI a key that the map lacks is null.
    return F.coalesce(F.element_at(table, word), word)


def _instant(time: Column, found: DataType) -> Column:
    if isinstance(found, NumericType):
        raise ConfigurationError(
            "source.columns.event_time is a number; say its unit: timestamp_seconds(x), timestamp_millis(x) or "
            "timestamp_micros(x)"
        )
    if isinstance(found, StringType):
        return F.when(F.rlike(time, F.lit(_BEGINS_WITH_YEAR)), time.try_cast("timestamp"))
    return time.try_cast("timestamp")


def with_event_date(events: DataFrame, zone: str) -> DataFrame:
    """Adds event_date: the day of the shop in which the instant lies."""
    return events.withColumn("event_date", F.to_date(F.from_utc_timestamp("event_time", zone)))


def with_reason(events: DataFrame, rules: Events, zone: str, policies: Mapping[str, Column]) -> DataFrame:
    """Adds REASON: why the record is refused, the first that holds in the order of OF_THE_RECORD, or null.

    `policies` are further reasons, each with its test. Adds ORDER and BYTES too. A record that fits drops what only a
    refused one is kept and read again by.

    | event_time (ingest day 10, skew 60 min, max_late_days 7) | reason        |
    |----------------------------------------------------------|---------------|
    | day 11, 01:00                                            | null          |
    | day 11, 01:01                                            | in_the_future |
    | day 3                                                    | null          |
    | day 2                                                    | too_late      |
    """
    day_after = F.to_utc_timestamp(F.date_add(INGEST_DATE, 1).cast("timestamp_ntz").cast("timestamp"), zone)
    latest = day_after + F.expr(f"INTERVAL {rules.clock_skew_minutes} MINUTES")
    late = F.col("event_date") < F.date_sub(INGEST_DATE, rules.max_late_days)
    is_ours = F.col("event_type").isin(*EVENT_TYPES)
    # What a word that we do not know stands for, it may stand for without an item.
    needs_item = is_ours & ~F.col("event_type").isin(*EVENT_TYPES_WITHOUT_ITEM)
    is_unknown = F.col("event_type").isNull() if rules.unknown_types == "keep" else F.coalesce(~is_ours, F.lit(True))
    tests = {
        reasons.UNREADABLE: F.col(IS_UNREADABLE),
        reasons.MISSING_USER: F.col("user_id").isNull(),
        reasons.MISSING_TIME: F.col("event_time").isNull(),
        reasons.TOO_EARLY: F.col("event_date") < F.lit(rules.earliest),
        reasons.IN_THE_FUTURE: F.col("event_time") > latest,
        reasons.TOO_LATE: late if rules.max_late_days else F.lit(False),
        reasons.UNKNOWN_TYPE: is_unknown,
        reasons.MISSING_ITEM: needs_item & F.col("item_id").isNull(),
        **policies,
    }
    ordered = sorted(tests, key=reasons.OF_THE_RECORD.index)
    reason = F.coalesce(*[F.when(tests[name], F.lit(name)) for name in ordered])
    judged = events.withColumn(REASON, reason)
    kept = {name: F.when(F.col(REASON).isNotNull(), F.col(name)) for name in (RECORD, RECORD_SCHEMA, ROW, ROW_SCHEMA)}
    return judged.withColumns({ORDER: F.xxhash64(RECORD, ROW), BYTES: F.length(RECORD)}).withColumns(kept)


def last_plausible_day(times: DataFrame, rules: Events) -> date | None:
    """The latest event_date that is not impossible: the day of logs whose paths name none, when nobody says it.

    Impossible is what lies more than a year after all but a thousandth of the events: a clock set wrong.

    Raises:
        ConfigurationError: the times lie in years that no calendar has, as those of another unit do.
    """
    seen = times.where((F.col("event_date") >= F.lit(rules.earliest)) & ~F.col(IS_UNREADABLE))
    bulk = seen.agg(F.percentile_approx(F.unix_date("event_date"), 0.999, 10000).alias("day")).first()
    if bulk is None or bulk["day"] is None:
        return None
    if bulk["day"] + 365 > (date.max - _EPOCH).days:
        raise ConfigurationError(
            f"the times of the log lie about the year {1970 + bulk['day'] // 365}; is the unit right in "
            "source.columns.event_time? timestamp_seconds(x), timestamp_millis(x) or timestamp_micros(x)"
        )
    near = seen.where(F.col("event_date") <= F.lit(_EPOCH + timedelta(days=bulk["day"] + 365)))
    latest = near.agg(F.max("event_date").alias("day")).first()
    return latest["day"] if latest else None
