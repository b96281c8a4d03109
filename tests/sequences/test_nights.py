"""The three jobs over several nights: whatever the order in which events come, the tables hold what one build gives."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs import build_examples, build_sequences, build_sessions
from nextaisle import config
from nextaisle.config import Settings
from nextaisle.contract.tables import EXAMPLES, ITEMS, SEQUENCES, SESSIONS, Table
from nextaisle.job import Job, Outcome, execute
from nextaisle.store import Store
from tests.sequences.events import Event, in_new_york, publish

DAYS = [date(2017, 3, 11) + timedelta(days=n) for n in range(4)]
MINUTES = 4 * 24 * 60 - 60  # one of the days has 23 hours
CHAIN = (build_sessions.JOB, build_sequences.JOB)


def run(spark: SparkSession, settings: Settings, job: Job, first: date | None, last: date | None) -> Outcome:
    outcome = execute(job, settings, spark, first, last)
    assert outcome.exit_code == 0, outcome.reason
    return outcome


def night(spark: SparkSession, settings: Settings, events: Iterable[Event], first: date, last: date) -> None:
    """All that has arrived by `last` is in the table events; then the jobs run for these days."""
    publish(spark, settings, [event for event in events if event.ingest_day <= last])
    for job in CHAIN:
        run(spark, settings, job, first, last)


def contents(spark: SparkSession, settings: Settings, table: Table, leave_out: Sequence[str] = ()) -> list[Any]:
    rows = Store(spark, settings.store).read(table).drop(*leave_out).collect()
    return sorted((tuple(row) for row in rows), key=repr)


def everything(spark: SparkSession, settings: Settings) -> dict[str, list[Any]]:
    return {
        "sessions": contents(spark, settings, SESSIONS),
        "sequences": contents(spark, settings, SEQUENCES, ["item_indices"]),
        "items": contents(spark, settings, ITEMS, ["item_index"]),
    }


def within(settings: Settings, folder: Path) -> Settings:
    """The settings with tables in this folder, and few events kept, so that seeds forget some."""
    store = settings.store.model_copy(update={"root": str(folder)})
    return in_new_york(settings.model_copy(update={"store": store, "sequences": config.Sequences(max_events=5)}))


def whole(spark: SparkSession, settings: Settings, events: Iterable[Event]) -> dict[str, list[Any]]:
    publish(spark, settings, events)
    for job in CHAIN:
        run(spark, settings, job, None, None)
    return everything(spark, settings)


def random_events(seed: int, users: int) -> list[Event]:
    """Bursts of events, some over midnight, some in two source sessions at once, some up to two days late."""
    random = np.random.default_rng(seed)
    found = set()
    for user in range(users):
        minute = random.integers(0, 600)
        while minute < MINUTES:
            source = [None, "s", "t"][random.integers(0, 3)]
            late = int(random.choice([0, 0, 0, 1, 2]))
            item = None if random.random() < 0.1 else f"i{random.integers(0, 9)}"
            found.add(Event(f"u{user}", float(minute), item, source, late))
            pause = random.choice([0, 1, 10, 30, 31, 300, 1500], p=[0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1])
            minute += pause
    return sorted(found, key=lambda event: (event.user, event.minutes, repr(event)))


def test_nights_with_late_events_equal_one_whole_build(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    events = random_events(seed=1, users=40)
    by_night, at_once = within(settings, tmp_path / "nights"), within(settings, tmp_path / "whole")
    night(spark, by_night, events, DAYS[0], DAYS[1])
    indices = dict(contents(spark, by_night, ITEMS, [n for n in ITEMS.names if n not in ("item_id", "item_index")]))
    night(spark, by_night, events, DAYS[2], DAYS[-1] + timedelta(days=2))
    assert everything(spark, by_night) == whole(spark, at_once, events)
    later = dict(contents(spark, by_night, ITEMS, [n for n in ITEMS.names if n not in ("item_id", "item_index")]))
    assert later | indices == later
    assert sorted(later.values()) == list(range(1, len(later) + 1))


def test_a_night_again_writes_nothing_and_what_was_taken_from_events_leaves_the_tables(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine, other = within(settings, tmp_path / "mine"), within(settings, tmp_path / "other")
    kept = [Event("u", 23 * 60 + 50), Event("v", 100), Event("v", 3 * 24 * 60)]
    # One that prolonged a session over midnight, one that stood alone, and a user who had nothing else.
    gone = [Event("u", 24 * 60 + 5, "b"), Event("v", 26 * 60, "c"), Event("w", 27 * 60, "d")]
    night(spark, mine, [*kept, *gone], DAYS[0], DAYS[-1])
    store = Store(spark, mine.store)
    before = {table.name: store.current_version(table) for table in (SESSIONS, SEQUENCES, ITEMS)}
    for job in CHAIN:
        # Days never asked for in these words, so that the job does not end as one that was done already.
        run(spark, mine, job, DAYS[1], DAYS[-1])
    assert {table.name: store.current_version(table) for table in (SESSIONS, SEQUENCES, ITEMS)} == before
    publish(spark, mine, kept)
    for job in CHAIN:
        run(spark, mine, job, DAYS[-1], DAYS[-1])
    expected = whole(spark, other, kept)
    assert contents(spark, mine, SESSIONS) == expected["sessions"]
    assert contents(spark, mine, SEQUENCES, ["item_indices"]) == expected["sequences"]


def test_examples_hold_each_target_once_and_only_their_own_day_is_replaced(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine = within(settings, tmp_path / "mine")
    evaluation = mine.evaluation.model_copy(update={"window_days": 1})
    mine = mine.model_copy(update={"evaluation": evaluation, "examples": config.Examples(length=4, stride=3)})
    events = [Event(f"u{user}", 60 + 24 * 60 * day, f"i{day}") for user in range(5) for day in range(4)]
    publish(spark, mine, events)
    for job in CHAIN:
        run(spark, mine, job, None, None)
    # Through the 14th the last day is test, the one before it validation; through the 13th they lie a day earlier.
    assert run(spark, mine, build_examples.JOB, DAYS[3], DAYS[3]).rows == {"test": 5, "train": 5, "validation": 5}
    assert run(spark, mine, build_examples.JOB, DAYS[2], DAYS[2]).rows == {"test": 5, "validation": 5}
    rows = Store(spark, mine.store).read(EXAMPLES)
    targets = {split: rows.where(f"as_of_date = DATE'2017-03-14' AND split = '{split}'").first().target_indices
               for split in ("train", "validation", "test")}  # fmt: skip
    assert targets == {"train": [2, 0, 0, 0], "validation": [0, 3, 0, 0], "test": [0, 0, 4, 0]}
    assert rows.select("example_id").distinct().count() == rows.where("as_of_date = DATE'2017-03-14'").count()
    version = Store(spark, mine.store).current_version(EXAMPLES)
    run(spark, mine, build_examples.JOB, DAYS[1], DAYS[3])
    assert Store(spark, mine.store).current_version(EXAMPLES) == version


@pytest.mark.slow
@pytest.mark.timeout(3600)
@hypothesis_settings(
    max_examples=6, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 2**31), cuts=st.sets(st.integers(1, 5), max_size=3), repeated=st.booleans())
def test_any_nights_equal_one_whole_build(
    spark: SparkSession, settings: Settings, tmp_path_factory: pytest.TempPathFactory,
    seed: int, cuts: set[int], repeated: bool,
) -> None:  # fmt: skip
    events = random_events(seed, users=60)
    by_night = within(settings, tmp_path_factory.mktemp("nights"))
    at_once = within(settings, tmp_path_factory.mktemp("whole"))
    bounds = [0, *sorted(cuts), 6]
    for first, after in pairwise(bounds):
        for _ in range(1 + repeated):
            night(spark, by_night, events, DAYS[0] + timedelta(days=first), DAYS[0] + timedelta(days=after - 1))
    assert everything(spark, by_night) == whole(spark, at_once, events)
