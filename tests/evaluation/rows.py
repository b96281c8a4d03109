"""Sessions and items by hand."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import DataFrame, SparkSession

from nextaisle.contract.tables import ITEMS, SESSIONS

Visit = tuple[str, datetime, Sequence[str | None]]


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, minute, tzinfo=UTC)


def sessions(spark: SparkSession, *visits: Visit, event_type: str = "purchase") -> DataFrame:
    """A visit is (user, start, items): an event a minute, all of one type; it belongs to its start's day in UTC."""
    rows = []
    for number, (user, start, items) in enumerate(visits):
        times = [start + timedelta(minutes=place) for place in range(len(items))]
        count, unknown = len(items), [None] * len(items)
        row = (f"s{number}", start.date(), user, None, times[0], times[-1], count)
        rows.append((*row, list(items), [event_type] * count, times, unknown, unknown, [1] * count))
    return spark.createDataFrame(rows, SESSIONS.schema)


def items(spark: SparkSession, *item_ids: str) -> DataFrame:
    """Indices 1, 2, ... in this order; titles are the ids in capitals."""
    day = date(2024, 1, 1)
    rows = [
        (item, index, day, item.upper(), None, None, None, None, None, None, day, day)
        for index, item in enumerate(item_ids, start=1)
    ]
    return spark.createDataFrame(rows, ITEMS.schema)
