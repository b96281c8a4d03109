"""What of the logs is to be read, or read again: files and rules that changed, and what a later day repeated."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Settings, Source
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.tables import EVENTS
from nextaisle.events.files import DATE, SourceFile, list_files, read_files
from nextaisle.events.mapping import INGEST_DATE
from nextaisle.events.stored import days_ahead, may_hold, stored_events
from nextaisle.store import Store

log = logging.getLogger(__name__)


def unread_days(spark: SparkSession, source: Source, store: Store) -> list[date]:
    """The days with files that were not read as they are now, or not by the [source] of now."""
    if DATE not in source.path:
        return []
    key = source_key(source)
    # Without events nothing was read, whatever is written of it.
    rows = read_files(store) if store.exists(EVENTS) else {}
    read = {identity for identity, row in rows.items() if row["source_key"] in (None, key)}
    return sorted({file.day for file in list_files(spark, source) if file.day and file.identity not in read})


def files_delivering_again(
    store: Store, settings: Settings, accepted: DataFrame, days: Sequence[date]
) -> list[SourceFile]:
    """Files of later days that may bring what is stored of `days` and no longer in their files, which are `accepted`.

    A repetition is dropped and nothing is kept of it, so it can only be found where it was.
    """
    rules = settings.events
    reach = rules.max_late_days and rules.max_late_days + days_ahead(rules)
    files = _later_files_with_repetitions(store.spark, settings.source, store, days, reach) if days else []
    if not files:
        return []
    stored = stored_events(store, F.col(INGEST_DATE).isin(*days) & may_hold(rules, days)).select(*EVENTS.key)
    lost = stored.join(accepted.select(*EVENTS.key), list(EVENTS.key), "left_anti")
    return [] if lost.isEmpty() else files


def _later_files_with_repetitions(
    spark: SparkSession, source: Source, store: Store, days: Collection[date], reach: int
) -> list[SourceFile]:
    """Files of the days of logs up to `reach` days after `days` (0: of all later ones) that repeated stored events.

    A day of which a file is gone, or is another now, is left out: what stands of it must not be lost.
    """
    day, last = F.col("ingest_date"), max(days) + timedelta(days=reach) if reach else date.max
    is_later = day.between(F.lit(min(days)), F.lit(last)) & ~day.isin(*days)
    repeating = {row["ingest_date"] for row in read_files(store, is_later & (F.col("duplicate_count") > 0)).values()}
    if not repeating:
        return []
    read = read_files(store, day.isin(*repeating))
    files = [file for file in list_files(spark, source, min(repeating), max(repeating)) if file.identity in read]
    gone = {read[identity]["ingest_date"] for identity in read.keys() - {file.identity for file in files}}
    if gone:
        log.warning("files of %s are not there as they were read; what they repeated is not looked for", min(gone))
    dated = [replace(file, day=read[file.identity]["ingest_date"]) for file in files]
    return [file for file in dated if file.day not in gone]


def check_time_zone(spark: SparkSession, source: Source, store: Store, days: Collection[date]) -> None:
    """To be called before `days` are read.

    Raises:
        ConfigurationError: the days of other logs, which could be read again, were told by another time zone.
    """
    is_other = (F.col("time_zone") != source.time_zone) & ~F.col("ingest_date").isin(*days)
    others = read_files(store, is_other)
    if not others:
        return
    there = {file.day for file in list_files(spark, source) if file.day}
    for row in others.values():
        if DATE not in source.path or row["ingest_date"] in there:
            raise ConfigurationError(
                f"source.time_zone is {source.time_zone!r}, and the logs of {row['ingest_date']} were read by "
                f"{row['time_zone']!r}: events would lie on days of both. Read all days again in one pass, by nightly "
                "or clean_events without --date; where source.path has no {date}, move the tables events, "
                "rejected_events and source_files away and build them again"
            )


def source_key(source: Source) -> str:
    """A hash of how records are read, wherever they are."""
    rules = source.model_dump(mode="json", exclude={"path"})
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
