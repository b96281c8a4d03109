"""A small shop for Spark: events in New York over the days on which clocks go forward, and items with attributes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, ITEMS
from nextaisle.storage.store import Store
from tests.sequences.events import MIDNIGHT, ZONE

DAYS = [date(2017, 3, 11) + timedelta(days=n) for n in range(8)]
MINUTES = 8 * 24 * 60 - 60  # the second of the days has 23 hours
SINCE_EVER = date(1970, 1, 1)


@dataclass(frozen=True)
class Event:
    """An event `minutes` after the midnight, in New York, that begins 2017-03-11; it arrives `late` days later."""

    user: str
    minutes: float
    kind: str = "view"
    item: str | None = "a1"
    price: str | None = None
    quantity: str | None = None
    source: str | None = None
    late: int = 0

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
            "event_id": f"{self.user} {self.source} {self.minutes:010} {self.kind} {self.item}",
            "event_date": self.day, "event_time": self.time, "user_id": self.user, "item_id": self.item,
            "event_type": self.kind, "source_session_id": self.source, "ingest_date": self.ingest_day,
            "price": Decimal(self.price) if self.price else None,
            "quantity": Decimal(self.quantity) if self.quantity else None,
        }  # fmt: skip


@dataclass(frozen=True)
class State:
    """What an item is from a day on."""

    item: str
    category: str | None
    valid_from: date = SINCE_EVER
    brand: str | None = "b"
    first_seen: date = DAYS[0]

    def row(self, index: int) -> dict[str, Any]:
        return {
            "item_id": self.item, "item_index": index, "valid_from": self.valid_from, "category": self.category,
            "brand": self.brand, "first_seen_date": self.first_seen, "last_seen_date": DAYS[-1],
        }  # fmt: skip


def events_of(spark: SparkSession, events: Iterable[Event]) -> DataFrame:
    return spark.createDataFrame([event.row() for event in events], EVENTS.schema).coalesce(1)


def items_of(spark: SparkSession, states: Iterable[State]) -> DataFrame:
    numbers: dict[str, int] = {}
    rows = [state.row(numbers.setdefault(state.item, len(numbers) + 1)) for state in states]
    return spark.createDataFrame(rows, ITEMS.schema).coalesce(1)


def publish(spark: SparkSession, settings: Settings, events: Iterable[Event], states: Iterable[State]) -> None:
    """Makes these the contents of table events, and puts these states into table items."""
    Store(spark, settings.store).replace(EVENTS, events_of(spark, events), "event_date IS NOT NULL")
    Store(spark, settings.store).merge(ITEMS, items_of(spark, states))


def random_log(seed: int, users: int) -> list[Event]:
    """Visits of views, carts, purchases and searches, some over midnight, some up to two days late."""
    random = np.random.default_rng(seed)
    found = {}
    for user in range(users):
        minute = float(random.integers(0, 1500))
        while minute < MINUTES:
            kind = str(random.choice(["view", "search", "cart", "purchase", "return"], p=[0.4, 0.1, 0.2, 0.25, 0.05]))
            item = None if kind == "search" else f"{'abc'[random.integers(0, 3)]}{random.integers(0, 3)}"
            price = str(random.choice(["1", "2.5", "0.3333"])) if random.random() < 0.7 else None
            quantity = str(random.choice(["1", "3", "0", "0.125"])) if random.random() < 0.7 else None
            source = [None, "s"][random.integers(0, 2)]
            event = Event(f"u{user}", minute, kind, item, price, quantity, source, int(random.choice([0, 0, 0, 1, 2])))
            found[event.row()["event_id"]] = event
            minute += float(random.choice([0, 1, 10, 30, 31, 600, 3000], p=[0.1, 0.25, 0.2, 0.15, 0.1, 0.1, 0.1]))
    return list(found.values())
