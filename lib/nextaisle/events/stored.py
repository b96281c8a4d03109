"""Events that the tables hold: those of events, and those set apart in rejected_events for their user's day.

Both together are all that was ever found good, and a user's day is judged by all of it. So what the tables hold of a
day follows from the events of the day and the rules alone, in whatever order the events came.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Events
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from nextaisle.events.bots import RULE
from nextaisle.events.cleaning import ACCEPTED
from nextaisle.storage.store import Store

# Where a row comes from, and what the tables have it as.
ORIGIN: Final = "origin"
NEW: Final = "new"
STORED: Final = "stored"
STORED_OUTCOME: Final = "stored_outcome"
STORED_RULE: Final = "stored_rule"
IS_SET_APART: Final = "event IS NOT NULL"


def stored_events(store: Store, is_wanted: Column) -> DataFrame:
    """Columns of events, STORED_OUTCOME and STORED_RULE; `is_wanted` speaks of columns of events."""
    as_stored = {STORED_OUTCOME: F.lit(ACCEPTED), STORED_RULE: F.lit(None).cast("string")}
    events = store.read(EVENTS).where(is_wanted)
    if not store.exists(REJECTED_EVENTS):
        return events.withColumns(as_stored)
    apart = store.read(REJECTED_EVENTS).where(IS_SET_APART)
    apart = apart.select("event.*", F.col("reason").alias(STORED_OUTCOME), F.col(RULE).alias(STORED_RULE))
    apart = apart.where(is_wanted)
    # On most days there is none, and every plan that reads both tables is half as large.
    if apart.isEmpty():
        return events.withColumns(as_stored)
    # Only where a job was killed between its commits an event is in both; it has to leave one of them.
    events = events.join(apart.select(*EVENTS.key), list(EVENTS.key), "left_anti").select(*EVENTS.names)
    return events.withColumns(as_stored).unionByName(apart)


def may_hold(rules: Events, days: Sequence[date]) -> Column:
    """Days on which events of these days of the logs may lie."""
    if not days:
        return F.lit(False)
    latest = F.date_add(F.lit(days[-1]), rules.days_ahead)
    earliest = F.date_sub(F.lit(days[0]), rules.max_late_days) if rules.max_late_days else F.lit(rules.earliest)
    return F.col("event_date").between(earliest, latest)


def stored_days(store: Store, is_wanted: Column) -> list[DataFrame]:
    """The event_date of each stored event, by table."""
    apart = store.read(REJECTED_EVENTS).where(IS_SET_APART).select("event.*")
    return [rows.where(is_wanted).select("event_date") for rows in (store.read(EVENTS), apart)]


def set_apart(records: DataFrame) -> DataFrame:
    """Rows of rejected_events that hold an event; `records` have OUTCOME as `reason`, and RULE."""
    known = {
        "path": F.lit(""),
        "record_hash": F.sha2(F.concat_ws(" ", "event_date", "event_id").cast("binary"), 256),
        "ordinal": F.lit(1),
        "reason": F.col("reason"),
        "event_time": F.col("event_time"),
        "ingest_date": F.col("ingest_date"),
        RULE: F.col(RULE),
        "event": F.struct(*EVENTS.names),
    }
    columns = [
        known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in REJECTED_EVENTS.schema
    ]
    return records.select(*columns)
