"""Small events, whole and night by night, for sessions, sequences and items."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS
from nextaisle.storage.store import Store

# In New York clocks go forward in the night to the second day.
ZONE = "America/New_York"
MIDNIGHT = datetime(2017, 3, 11, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """An event `minutes` after the midnight, in New York, that begins 2017-03-11; it arrives `late` days later."""

    user: str
    minutes: float
    item: str | None = "a"
    source: str | None = None
    late: int = 0
    id: str = ""

    @property
    def time(self) -> datetime:
        return MIDNIGHT + timedelta(minutes=self.minutes)

    @property
    def day(self) -> date:
        return self.time.astimezone(ZoneInfo(ZONE)).date()

    @property
    def ingest_day(self) -> date:
        return self.day + timedelta(days=self.late)

    def row(self) -> dict[str, Any]:
        return {
            "event_id": self.id or f"{self.user} {self.source} {self.minutes} {self.item}",
            "event_date": self.day, "event_time": self.time, "user_id": self.user, "item_id": self.item,
            "event_type": "purchase" if self.item else "search", "source_session_id": self.source,
            "ingest_date": self.ingest_day,
        }  # fmt: skip


def events_of(spark: SparkSession, events: Iterable[Event]) -> DataFrame:
    return spark.createDataFrame([event.row() for event in events], EVENTS.schema).coalesce(1)


def publish(spark: SparkSession, settings: Settings, events: Iterable[Event]) -> None:
    """Makes these the contents of table events; days that hold them already stay as they are."""
    Store(spark, settings.store).replace(EVENTS, events_of(spark, events), "event_date IS NOT NULL")


def in_new_york(settings: Settings) -> Settings:
    return settings.model_copy(update={"source": settings.source.model_copy(update={"time_zone": ZONE})})
