"""The job over several nights: whatever the order in which events come, the tables hold what one build gives."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs import build_profiles, build_sessions
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import CATEGORY_PRICES, ITEM_GRAPH, ITEMS, SESSIONS, USER_PROFILES
from nextaisle.job import Job, Outcome, execute
from nextaisle.profiles import category_prices_of, events_since, rebuild_item_graph, rebuild_profiles
from nextaisle.sessions import rebuild_sessions
from nextaisle.storage.delta_log import Version
from nextaisle.storage.latest_rows import LatestRows
from nextaisle.storage.store import Store
from tests.profiles.shop import DAYS, Event, State, events_of, items_of, publish, random_log
from tests.sequences.events import in_new_york

LAST_NIGHT = DAYS[-1] + timedelta(days=2)  # when the latest event has arrived
TABLES = (USER_PROFILES, CATEGORY_PRICES, ITEM_GRAPH)
# One item is of another category from the fifth day on, one has none.
STATES = (
    *(State(f"{letter}{number}", letter) for letter in "abc" for number in (0, 1)), State("a2", None), State("b2", "b"),
    State("c2", "c"), State("c2", "a", DAYS[4], "d"),
)  # fmt: skip


def run(spark: SparkSession, settings: Settings, job: Job, first: date | None, last: date | None) -> Outcome:
    outcome = execute(job, settings, spark, first, last)
    assert outcome.exit_code == 0, outcome.reason
    return outcome


def night(
    spark: SparkSession, settings: Settings, events: Iterable[Event], first: date, last: date,
    states: Iterable[State] = STATES,
) -> Outcome:  # fmt: skip
    """All that has arrived by `last` is in the table events; then the jobs run for these days."""
    publish(spark, settings, [event for event in events if event.ingest_day <= last], states)
    run(spark, settings, build_sessions.JOB, first, last)
    return run(spark, settings, build_profiles.JOB, first, last)


def contents(spark: SparkSession, settings: Settings) -> dict[str, list[Any]]:
    store = Store(spark, settings.store)
    return {table.name: in_order(store.read(table)) for table in TABLES}


def versions(spark: SparkSession, settings: Settings) -> list[Version | None]:
    return [Store(spark, settings.store).version(table) for table in TABLES]


def within(settings: Settings, folder: Path) -> Settings:
    """The settings with tables in this folder, with short windows, and few names, so that some are forgotten."""
    store = settings.store.model_copy(update={"root": str(folder)})
    profiles = settings.profiles.model_copy(update={"window_days": 2, "price_days": 3, "max_distinct": 6})
    graph = settings.item_graph.model_copy(update={"max_basket_items": 3})
    return in_new_york(settings.model_copy(update={"store": store, "profiles": profiles, "item_graph": graph}))


def whole(
    spark: SparkSession, settings: Settings, events: Iterable[Event], states: Iterable[State] = STATES
) -> dict[str, list[Any]]:
    """The same in one pass, from no tables at all."""
    zone, rules, none = settings.source.time_zone, settings.profiles, spark.createDataFrame
    rows = events_of(spark, events)
    sessions = rebuild_sessions(rows, none([], SESSIONS.schema), EVERYTHING, settings.sessions, zone).made.frame()
    sessions = sessions.localCheckpoint()
    known = events_since(sessions, items_of(spark, states), EVERYTHING, rules, zone).localCheckpoint()
    prices = category_prices_of(known)
    profiles = rebuild_profiles(known, LatestRows(none([], USER_PROFILES.schema)), prices, rules).frame()
    graph = rebuild_item_graph(sessions, EVERYTHING, settings.item_graph, zone).frame()
    tables = {"user_profiles": profiles, "category_prices": prices, "item_graph": graph}
    return {name: in_order(table) for name, table in tables.items()}


def in_order(rows: DataFrame) -> list[Any]:
    return sorted((tuple(row) for row in rows.collect()), key=repr)


def assert_equal(found: dict[str, list[Any]], told: dict[str, list[Any]]) -> None:
    for name, rows in told.items():
        assert rows
        assert found[name] == rows, name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("reach")
def test_nights_with_late_events_equal_one_whole_build_and_a_night_again_writes_nothing(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    events, mine = random_log(seed=1, users=40), within(settings, tmp_path)
    night(spark, mine, events, DAYS[0], DAYS[4])
    night(spark, mine, events, DAYS[5], LAST_NIGHT)
    assert_equal(contents(spark, mine), whole(spark, mine, events))
    before = versions(spark, mine)
    # Days never asked for in these words, so that the job does not end as one that was done already.
    again = run(spark, mine, build_profiles.JOB, DAYS[1], LAST_NIGHT)
    assert versions(spark, mine) == before
    assert again.rows["capped_baskets"] > 0


@pytest.mark.slow
def test_a_late_event_rewrites_the_days_from_it_on_and_no_day_before(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine = within(settings, tmp_path)
    events = [Event("u", 60 + 24 * 60 * day, "purchase", price="1") for day in range(6)] + [Event("v", 100)]
    late = Event("u", 24 * 60 * 3 + 70, "purchase", "b1", price="4", late=2)
    night(spark, mine, events, DAYS[0], DAYS[4])
    before = versions(spark, mine)
    night(spark, mine, [*events, late], DAYS[5], DAYS[5])
    assert_equal(contents(spark, mine), whole(spark, mine, [*events, late]))
    for table, version in zip(TABLES, before, strict=True):
        assert version is not None
        assert Store(spark, mine.store).first_changed_day(table, version) == DAYS[3]


@pytest.mark.slow
def test_a_changed_attribute_of_an_item_reaches_the_days_on_which_it_holds(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine = within(settings, tmp_path)
    events = [Event("u", 60 + 24 * 60 * day + n, "purchase", f"a{n}", "1") for day in range(4) for n in (0, 1)]
    old = (State("a0", "a"), State("a1", "a"))
    night(spark, mine, events, DAYS[0], DAYS[3], old)
    profiles, _, graph = versions(spark, mine)
    assert profiles is not None
    new = (*old, State("a1", "tea", DAYS[2]))
    night(spark, mine, events, DAYS[3], DAYS[3], new)
    assert_equal(contents(spark, mine), whole(spark, mine, events, new))
    assert Store(spark, mine.store).first_changed_day(USER_PROFILES, profiles) == DAYS[2]
    assert versions(spark, mine)[2] == graph
    for file in Store(spark, mine.store).read(ITEMS).inputFiles():
        Path(file.removeprefix("file:")).unlink()  # as VACUUM does, once the next version has others
    other = tuple(State(state.item, "coffee", state.valid_from) for state in new)
    items_of(spark, other).write.format("delta").mode("overwrite").save(str(tmp_path / "items"))
    run(spark, mine, build_profiles.JOB, DAYS[3], DAYS[3])
    assert_equal(contents(spark, mine), whole(spark, mine, events, other))


@pytest.mark.slow
def test_what_was_taken_from_events_leaves_the_tables(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    mine = within(settings, tmp_path)
    kept = [Event("u", 23 * 60 + 50), Event("v", 100), Event("v", 101, item="b1"), Event("v", 3 * 24 * 60)]
    # One that prolonged a session over midnight, and a user who had nothing else.
    gone = [Event("u", 24 * 60 + 5, item="b1"), Event("w", 27 * 60, "purchase", price="1")]
    night(spark, mine, [*kept, *gone], DAYS[0], DAYS[-1])
    night(spark, mine, kept, DAYS[-1], DAYS[-1])
    told = whole(spark, mine, kept)
    assert contents(spark, mine) == told


@pytest.mark.slow
@pytest.mark.timeout(3600)
@hypothesis_settings(
    max_examples=4, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 2**31), cuts=st.sets(st.integers(1, 9), max_size=3))
def test_any_nights_equal_one_whole_build(
    spark: SparkSession, settings: Settings, tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: set[int]
) -> None:
    events = random_log(seed, users=60)
    mine = within(settings, tmp_path_factory.mktemp("nights"))
    for first, after in pairwise([0, *sorted(cuts), 10]):
        night(spark, mine, events, DAYS[0] + timedelta(days=first), DAYS[0] + timedelta(days=after - 1))
    assert_equal(contents(spark, mine), whole(spark, mine, events))
