"""Any day told from few rows is what all rows would tell."""

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nextaisle.contract.as_of import compacted_through, histories_as_of
from nextaisle.contract.tables import SEQUENCES
from nextaisle.sequences import compacted

CAP = 5
ZONE = "America/New_York"
FIRST = date(2024, 1, 1)
DAYS = 60
THROUGH = date(2024, 1, 31)

Row = tuple[Any, ...]


@pytest.mark.parametrize(
    ("last", "daily_days", "through"),
    [("2017-12-31", 31, "2017-11-30"), ("2017-12-30", 31, "2017-10-31"), ("2024-03-01", 1, "2024-02-29")],
)
def test_months_are_compacted_as_a_whole(last: str, daily_days: int, through: str) -> None:
    assert compacted_through(date.fromisoformat(last), daily_days) == date.fromisoformat(through)


def daily_rows(random: np.random.Generator, user: str) -> list[Row]:
    """All rows of one user, who on some days does nothing, and on others more than a row can hold."""
    busy = random.choice([0.05, 0.3, 0.9])
    events: list[tuple[datetime, str]] = []
    rows: list[Row] = []
    for day in range(DAYS):
        count = int(random.integers(1, 9)) if random.random() < 0.05 else int(random.random() < busy)
        for second in range(count):
            # Shortly before midnight in New York: already another day in UTC.
            moment = datetime(2024, 1, 1, 4, 50, second, tzinfo=UTC) + timedelta(days=day + 1)
            events.append((moment, f"i{len(events)}"))
        if count:
            kept = events[-CAP:]
            times, items = [time for time, _ in kept], [item for _, item in kept]
            nothing = [None] * len(kept)
            rows.append((user, FIRST + timedelta(days=day), len(events), items, nothing, nothing, times, nothing,
                         nothing))  # fmt: skip
    return rows


@pytest.mark.slow
def test_two_hundred_histories_can_be_told_for_any_day_from_the_rows_that_are_kept(spark: SparkSession) -> None:
    random = np.random.default_rng(1)
    rows = [row for user in range(200) for row in daily_rows(random, f"u{user}")]
    everything = spark.createDataFrame(rows, SEQUENCES.schema).coalesce(2)
    thinned, days = compacted(everything, THROUGH)
    others = everything.where(~F.col("as_of_date").isin(days))
    kept = thinned.frame().unionByName(others).localCheckpoint()
    assert kept.where(f"as_of_date <= DATE'{THROUGH}'").count() < 0.5 * sum(row[1] <= THROUGH for row in rows)
    for day in (FIRST + timedelta(days=n) for n in (0, 1, 6, 13, 22, 29, 30, 31, 40, DAYS - 1, DAYS + 5)):
        told = histories_as_of(kept, day, ["item_ids", "event_times"], CAP, ZONE).collect()
        expected = {}
        for user, history in groupby(rows, key=lambda row: row[0]):
            latest = [row for row in history if row[1] <= day]
            if latest:
                expected[user] = (latest[-1][2], latest[-1][3])
        assert {row["user_id"]: (row["event_count"], row["item_ids"]) for row in told} == expected, day
        assert all(len(row["event_times"]) == len(row["item_ids"]) for row in told)
