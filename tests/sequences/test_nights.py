"""The three jobs over several nights: whatever the order in which events come, the tables hold what one build gives."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import build_examples, build_sequences, build_sessions
from nextaisle import config
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.as_of import compacted_through
from nextaisle.contract.tables import EXAMPLES, ITEMS, SEQUENCES, SESSIONS, Table
from nextaisle.job import Job, Outcome, execute
from nextaisle.ledger import compacted_day
from nextaisle.sequences import SEED, read_catalogue, read_lookup, rebuild_items, rebuild_sequences, rows_by_user
from nextaisle.sequences.items import NEVER
from nextaisle.sessions import rebuild_sessions
from nextaisle.storage.latest_rows import LatestRows
from nextaisle.storage.store import Store
from tests.sequences.events import Event, events_of, in_new_york, publish

DAYS = [date(2017, 3, 11) + timedelta(days=n) for n in range(4)]
MINUTES = 4 * 24 * 60 - 60  # one of the days has 23 hours
LAST_NIGHT = DAYS[-1] + timedelta(days=2)  # when the latest event has arrived
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
    return in_order(Store(spark, settings.store).read(table).drop(*leave_out))


def versions(spark: SparkSession, settings: Settings) -> dict[str, int | None]:
    return {table.name: Store(spark, settings.store).current_version(table) for table in (SESSIONS, SEQUENCES, ITEMS)}


def indices(spark: SparkSession, settings: Settings) -> dict[str, int]:
    return dict(contents(spark, settings, ITEMS, [n for n in ITEMS.names if n not in ("item_id", "item_index")]))


def everything(spark: SparkSession, settings: Settings) -> dict[str, list[Any]]:
    return {
        "sessions": contents(spark, settings, SESSIONS),
        "sequences": contents(spark, settings, SEQUENCES, ["item_indices"]),
        "items": contents(spark, settings, ITEMS, ["item_index"]),
    }


def within(settings: Settings, folder: Path) -> Settings:
    """The settings with tables in this folder, and few events kept, so that seeds forget some."""
    store = settings.store.model_copy(update={"root": str(folder)})
    return in_new_york(
        settings.model_copy(update={"store": store, "sequences": config.Sequences(max_events=5, daily_days=3)})
    )


def whole(spark: SparkSession, settings: Settings, events: Iterable[Event]) -> dict[str, list[Any]]:
    """The same in one pass, from no tables at all."""
    rows, zone, nothing = events_of(spark, events), settings.source.time_zone, spark.createDataFrame
    none = nothing([], SESSIONS.schema)
    sessions = rebuild_sessions(rows, none, EVERYTHING, settings.sessions, zone).made.frame().localCheckpoint()
    no_catalogue = read_catalogue(spark, settings.items, zone)
    items = rebuild_items(rows, no_catalogue, nothing([], ITEMS.schema), EVERYTHING, DAYS[-1]).localCheckpoint()
    last = sessions.agg(F.from_utc_timestamp(F.max("end_time"), zone).cast("date").alias("day")).collect()[0]["day"]
    through = compacted_through(last or DAYS[0], settings.sequences.daily_days)
    by_user = rows_by_user(sessions, LatestRows(nothing([], SEQUENCES.only(SEED).schema)))
    sequences = rebuild_sequences(by_user, read_lookup(items), EVERYTHING, through, settings).frame()
    return {
        "sessions": in_order(sessions),
        "sequences": in_order(sequences.drop("item_indices")),
        "items": in_order(items.drop("item_index")),
    }


def in_order(rows: DataFrame) -> list[Any]:
    return sorted((tuple(row) for row in rows.collect()), key=repr)


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("reach")
def test_nights_with_late_events_equal_one_whole_build_and_a_night_again_writes_nothing(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    events, mine = random_events(seed=1, users=40), within(settings, tmp_path)
    night(spark, mine, events, DAYS[0], DAYS[1])
    numbered = indices(spark, mine)
    night(spark, mine, events, DAYS[2], LAST_NIGHT)
    assert everything(spark, mine) == whole(spark, mine, events)
    assert indices(spark, mine) | numbered == indices(spark, mine)
    assert sorted(indices(spark, mine).values()) == list(range(1, len(indices(spark, mine)) + 1))
    before = versions(spark, mine)
    for job in CHAIN:
        # Days never asked for in these words, so that the job does not end as one that was done already.
        run(spark, mine, job, DAYS[1], LAST_NIGHT)
    assert versions(spark, mine) == before


@pytest.mark.slow
def test_months_that_are_over_are_compacted_once_and_a_day_in_them_is_built_with_all(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """User u comes every day, v on the first alone. Three nights of April end at its fourth day."""
    mine, minutes = within(settings, tmp_path), 24 * 60
    events = [Event("u", 60 + day * minutes, f"i{day % 7}") for day in range(25)] + [Event("v", 90)]
    night(spark, mine, events, DAYS[0], DAYS[0] + timedelta(days=22))  # through April 2
    store = Store(spark, mine.store)
    assert store.read(SEQUENCES).count() == 24
    before = store.versions_read[SEQUENCES.name]
    night(spark, mine, events, DAYS[0] + timedelta(days=23), DAYS[0] + timedelta(days=24))
    sequences = Store(spark, mine.store).read(SEQUENCES)
    # Of 21 days of March a chain of five, as five events fit into a row; v's one; four days of April.
    assert sequences.where("as_of_date < DATE'2017-04-01'").count() == 6
    assert sequences.count() == 10
    assert compacted_day(store) == date(2017, 3, 31)
    # Of the days of March nothing that was told has changed.
    assert store.fresh().changed_days(SEQUENCES, before) == {date(2017, 4, 3), date(2017, 4, 4)}
    assert everything(spark, mine) == whole(spark, mine, events)
    late = [*events, Event("v", 2 * minutes, "b")]
    night(spark, mine, late, DAYS[2], DAYS[0] + timedelta(days=24))
    assert everything(spark, mine) == whole(spark, mine, late)


@pytest.mark.slow
def test_a_month_stays_compacted_when_the_last_days_are_taken_away(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """Through April 4 March is compacted; through April 2 it would not be, yet its rows are gone."""
    mine, minutes = within(settings, tmp_path), 24 * 60
    events = [Event("u", 60 + day * minutes, f"i{day % 7}") for day in range(25)]
    night(spark, mine, events, DAYS[0], DAYS[0] + timedelta(days=24))
    fewer = [*events[:23], Event("u", 90 + 20 * minutes, "late")]
    night(spark, mine, fewer, DAYS[0] + timedelta(days=20), DAYS[0] + timedelta(days=24))
    assert contents(spark, mine, SEQUENCES, ["item_indices"]) == whole(spark, mine, fewer)["sequences"]


@pytest.mark.slow
def test_a_session_that_goes_on_after_midnight_is_no_change_of_the_day_before(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine, events = within(settings, tmp_path), [Event("u", 23 * 60 + 50), Event("v", 100)]
    night(spark, mine, events, DAYS[0], DAYS[0])
    before = Store(spark, mine.store).version(SESSIONS)
    assert before is not None
    events += [Event("u", 24 * 60 + 5, "b"), Event("v", 26 * 60)]
    night(spark, mine, events, DAYS[1], DAYS[1])
    store = Store(spark, mine.store)
    assert store.changed_days(SESSIONS, before) == {DAYS[0], DAYS[1]}
    assert store.first_changed_day(SESSIONS, before) == DAYS[1]
    assert everything(spark, mine) == whole(spark, mine, events)


@pytest.mark.slow
def test_what_was_taken_from_events_leaves_the_tables(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    kept = [Event("u", 23 * 60 + 50), Event("v", 100), Event("v", 110, "e"), Event("v", 3 * 24 * 60)]
    # One that prolonged a session over midnight, one that stood alone, a user who had nothing else, an item's latest.
    gone = [Event("u", 24 * 60 + 5, "b"), Event("v", 26 * 60, "c"), Event("w", 27 * 60, "d"), Event("w", 28 * 60, "e")]
    mine = within(settings, tmp_path)
    night(spark, mine, [*kept, *gone], DAYS[0], DAYS[-1])
    night(spark, mine, kept, DAYS[-1], DAYS[-1])
    expected = whole(spark, mine, kept)
    assert contents(spark, mine, SESSIONS) == expected["sessions"]
    assert contents(spark, mine, SEQUENCES, ["item_indices"]) == expected["sequences"]
    items = contents(spark, mine, ITEMS, ["item_index"])
    assert [row for row in items if NEVER not in row] == expected["items"]
    assert [row[0] for row in items if NEVER in row] == ["b", "c", "d"]


@pytest.mark.slow
def test_a_table_that_was_taken_away_is_built_anew_and_so_is_all_that_refers_to_it(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    events, mine = [Event("u", 60, "x"), Event("u", 61, "y"), Event("v", 25 * 60, "a")], within(settings, tmp_path)
    night(spark, mine, events, DAYS[0], DAYS[0])
    night(spark, mine, events, DAYS[1], DAYS[1])
    shutil.rmtree(tmp_path / "items")
    run(spark, mine, build_sequences.JOB, DAYS[1], DAYS[1])
    known = indices(spark, mine)
    assert sorted(known.values()) == [1, 2, 3]
    for row in Store(spark, mine.store).read(SEQUENCES).collect():
        assert row["item_indices"] == [known[item] for item in row["item_ids"]]
    # Of the events that are built again, in one pass, the version is one that sessions have seen of the others.
    shutil.rmtree(tmp_path / "events")
    night(spark, mine, [replace(event, user="w") for event in events], DAYS[1], DAYS[1])
    assert {row[0] for row in Store(spark, mine.store).read(SESSIONS).select("user_id").collect()} == {"w"}


@pytest.mark.slow
def test_what_a_killed_run_of_other_rules_or_somebody_else_left_is_built_anew(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    events, mine = random_events(seed=2, users=5), within(settings, tmp_path)
    night(spark, mine, events, DAYS[0], DAYS[2])
    before = versions(spark, mine)
    others = {
        "sessions": mine.sessions.model_copy(update={"gap_minutes": 5}),
        "sequences": config.Sequences(max_events=2, daily_days=3),
    }
    # Killed before they could tell.
    with patch("nextaisle.job._record"):
        for job in CHAIN:
            run(spark, mine.model_copy(update=others), job, DAYS[0], DAYS[2])
    left = versions(spark, mine)
    assert left[SESSIONS.name] != before[SESSIONS.name]
    assert left[SEQUENCES.name] != before[SEQUENCES.name]
    night(spark, mine, events, LAST_NIGHT, LAST_NIGHT)
    assert everything(spark, mine) == whole(spark, mine, events)
    spark.sql(f"DELETE FROM delta.`{tmp_path}/sequences` WHERE as_of_date >= DATE'{DAYS[1]}'")
    run(spark, mine, build_sequences.JOB, LAST_NIGHT, LAST_NIGHT)
    assert everything(spark, mine) == whole(spark, mine, events)


@pytest.mark.slow
def test_examples_of_one_day_are_replaced_alone(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    mine = within(settings, tmp_path)
    evaluation = mine.evaluation.model_copy(update={"window_days": 1})
    mine = mine.model_copy(update={"evaluation": evaluation, "examples": config.Examples(length=4, stride=3)})
    publish(spark, mine, [Event(f"u{user}", 60 + 24 * 60 * day, f"i{day}") for user in range(5) for day in range(4)])
    for job in CHAIN:
        run(spark, mine, job, None, None)
    # Through the 14th the last day is test, the one before it validation; through the 13th they lie a day earlier.
    assert run(spark, mine, build_examples.JOB, DAYS[3], DAYS[3]).rows == {"test": 5, "train": 5, "validation": 5}
    assert run(spark, mine, build_examples.JOB, DAYS[2], DAYS[2]).rows == {"test": 5, "validation": 5}
    rows = Store(spark, mine.store).read(EXAMPLES)
    assert rows.count() == 25
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
    mine = within(settings, tmp_path_factory.mktemp("nights"))
    bounds = [0, *sorted(cuts), 6]
    for first, after in pairwise(bounds):
        for _ in range(1 + repeated):
            night(spark, mine, events, DAYS[0] + timedelta(days=first), DAYS[0] + timedelta(days=after - 1))
    assert everything(spark, mine) == whole(spark, mine, events)
