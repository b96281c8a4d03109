"""What of the logs is to be read, or read again: files and rules that changed, and what a later day repeated."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Events, Settings, Source
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.tables import EVENTS, SOURCE_FILES
from nextaisle.events.files import SourceFile, list_files, names_days, read_files
from nextaisle.events.mapping import INGEST_DATE
from nextaisle.events.stored import may_hold, stored_events
from nextaisle.storage.store import Store

log = logging.getLogger(__name__)


def unread_days(spark: SparkSession, source: Source, store: Store) -> list[date]:
    """The days with files that were not read as they are now, or not by the [source] of now."""
    if not names_days(source):
        return []
    key = source_key(source)
    # Without events nothing was read, whatever is written of it.
    rows = read_files(store) if store.exists(EVENTS) else {}
    read = {identity for identity, row in rows.items() if row["source_key"] in (None, key)}
    return sorted({file.day for file in list_files(spark, source) if file.day and file.identity not in read})


def say_what_stays(store: Store, source: Source, files: Collection[SourceFile]) -> None:
    """Where paths name no days, files that were read by another [source], and are not among `files`, stay as read."""
    if names_days(source):
        return
    now = {file.identity for file in files}
    rows = read_files(store, F.col("source_key") != source_key(source))
    days = sorted({row["ingest_date"] for identity, row in rows.items() if identity not in now})
    if days:
        log.warning(
            "files first read for %s were read by another [source], and stay as they were read: source.path has no "
            "{date}. To read them again, when no other file is new, run clean_events --date for each of these days",
            ", ".join(map(str, days)),
        )


def files_delivering_again(
    store: Store, settings: Settings, accepted: DataFrame, days: Sequence[date]
) -> list[SourceFile]:
    """Files of later days that may bring what is stored of `days` and no longer in their files, which are `accepted`.

    Of a repetition nothing is kept, nor of an event that an earlier day of the logs took over, so neither can be found
    but in the files: all those that an event so old may come with are read again.
    """
    if not days:
        return []
    rules = settings.events
    latest = days[-1] + timedelta(days=rules.days_ahead)
    # After an ordinary night's days none was read, and no event is looked for.
    if store.read(SOURCE_FILES).where(_is_later(rules, days, days[0], latest)).isEmpty():
        return []
    stored = stored_events(store, F.col(INGEST_DATE).isin(*days) & may_hold(rules, days))
    lost = stored.join(accepted.select(*EVENTS.key), list(EVENTS.key), "left_anti")
    span = lost.agg(F.min(INGEST_DATE).alias("first"), F.max("event_date").alias("last")).collect()[0]
    if span["first"] is None:
        return []
    return _files_as_read(store, settings.source, _is_later(rules, days, span["first"], span["last"]))


def _is_later(rules: Events, days: Collection[date], first: date, last: date) -> Column:
    """Other days of the logs, after `first`, that may bring what happened until `last`."""
    latest = last + timedelta(days=rules.max_late_days) if rules.max_late_days else date.max
    return F.col(INGEST_DATE).between(F.lit(first), F.lit(latest)) & ~F.col(INGEST_DATE).isin(*days)


def _files_as_read(store: Store, source: Source, is_wanted: Column) -> list[SourceFile]:
    """Files that were read for the days that are wanted, and by the rules of now: by others they are unread anyway.

    A day of which a file is gone, or is another now, is left out: what stands of it must not be lost.
    """
    key = source_key(source)
    read = read_files(store, is_wanted & (F.coalesce("source_key", F.lit(key)) == key))
    if not read:
        return []
    days = [row[INGEST_DATE] for row in read.values()]
    files = [file for file in list_files(store.spark, source, min(days), max(days)) if file.identity in read]
    gone = {read[identity][INGEST_DATE] for identity in read.keys() - {file.identity for file in files}}
    if gone:
        log.warning("files of %s are not there as they were read; what they brought again is not looked for", min(gone))
    dated = [replace(file, day=read[file.identity][INGEST_DATE]) for file in files]
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
        if not names_days(source) or row["ingest_date"] in there:
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
