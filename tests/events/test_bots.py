"""Who is a bot on which day, and that it does not matter in which order a day's events come."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import clean_events
from nextaisle.config import Bots, Settings
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, Table
from nextaisle.events.bots import bot_days, least_events
from nextaisle.storage.store import Store
from tests.events.shops import JSON_LINES, Shop, record

MORNING = datetime(2024, 1, 1, 1, tzinfo=UTC)
OFF = Bots(
    events_per_minute=0,
    events_per_day=0,
    items_per_minute=0,
    hours_without_pause=0,
    pause_minutes=30,
    max_user_share=1.0,
)


def every(seconds: float, count: int, item: str | None = "a", kind: str = "view", start: float = 0) -> list[Any]:
    return [(MORNING + timedelta(seconds=start + n * seconds), item, kind) for n in range(count)]


def found(spark: SparkSession, rules: Bots, **days: list[Any]) -> dict[str, str]:
    """{user: rule} of the bots among these users' days."""
    rows = [(user, time.date(), time, item, kind) for user, acts in days.items() for time, item, kind in acts]
    schema = "user_id string, event_date date, event_time timestamp, item_id string, event_type string"
    return {row.user_id: row.rule for row in bot_days(spark.createDataFrame(rows, schema), rules).collect()}


def test_a_day_breaks_a_rule_by_one_event_more_than_it_allows(spark: SparkSession) -> None:
    """At most 3 events and 2 items in a minute, 6 events on a day, 2 hours without a pause of 30 minutes."""
    rules = OFF.model_copy(
        update={"events_per_minute": 3, "events_per_day": 6, "items_per_minute": 2, "hours_without_pause": 2}
    )
    bots = found(
        spark, rules,
        fast=every(1, 4), fast_enough=every(1, 3),
        over_the_turn_of_a_minute=every(10, 4, start=40),
        many=every(7200, 7), many_enough=every(7200, 6),
        wide=[act for item in "abc" for act in every(1, 1, item)],
        wide_enough=[act for item in "aab" for act in every(1, 1, item)],
        seeker=every(1, 3, item=None, kind="search"),
        restless=every(1799, 6), calm=every(1800, 6), restless_for_less_than_two_hours=every(1799, 5),
        restless_after_a_pause=every(1799, 1) + every(1799, 5, start=3600),
        buyer=every(0, 9, kind="purchase"), giver_back=every(0, 9, kind="return"),
        shown=every(0, 9, kind="impression"),
        breaks_two=every(1, 7),
    )  # fmt: skip
    assert bots == {
        "fast": "events_per_minute", "many": "events_per_day", "wide": "items_per_minute",
        "restless": "hours_without_pause", "breaks_two": "events_per_minute",
    }  # fmt: skip


@pytest.mark.parametrize(("hours", "pause", "least"), [(2, 30, 5), (20, 1440, 1), (0, 30, None)])
def test_days_that_are_too_short_for_a_rule_are_told_by_their_events(hours: int, pause: int, least: int | None) -> None:
    """Two events 21 hours apart have no pause of 24 between them."""
    rules = OFF.model_copy(update={"hours_without_pause": hours, "pause_minutes": pause})
    assert least_events(rules) == least


def test_a_day_ends_at_midnight_and_a_rule_of_0_is_off(spark: SparkSession) -> None:
    over_midnight = every(1, 4, start=23 * 3600 - 2)
    assert found(spark, OFF.model_copy(update={"events_per_day": 3}), u=over_midnight) == {}
    assert found(spark, OFF.model_copy(update={"events_per_day": 1}), u=over_midnight) == {"u": "events_per_day"}
    assert found(spark, OFF, u=every(0, 1000)) == {}


def test_a_shoppers_longest_day_breaks_no_default(spark: SparkSession, settings: Settings) -> None:
    """16 hours with a view every 25 seconds, a page of 150 impressions each; a receipt of 500 lines; a cart of 150."""
    browsing = every(25, 16 * 144, item=None, kind="search") + every(25, 150, kind="impression") * 16
    basket = [act for n in range(500) for act in every(0, 1, f"i{n}", "purchase")]
    cart = [act for n in range(150) for act in every(0, 1, f"i{n}", "cart", start=4000)]
    assert found(spark, settings.bots, shopper=browsing + basket + cart) == {}


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path, JSON_LINES | {"bots.events_per_day": 3})


@pytest.mark.slow
def test_a_late_event_makes_a_day_a_bots_and_a_mended_log_gives_it_back(shop: Shop) -> None:
    """Of u's fourth event on day 1, which arrives on day 2; v is a shopper."""
    shop.write(1, [*(record("u", f"01 10:00:0{n}", item=str(n)) for n in range(3)), record("v", "01 10:00:00")])
    shop.write(2, [record("u", "01 23:00:00"), record("u", "02 10:00:00")])
    assert shop.clean(1).rows["accepted"] == 4
    before = shop.contents()
    late = shop.clean(2, events__max_rejected_share=0.0)
    assert late.rows == {
        "files": 1, "records": 2, "accepted": 1, "rejected": 1, "duplicates": 0, "rejected_bot": 1, "withdrawn": 3
    }  # fmt: skip
    assert shop.rows(EVENTS, "user_id", "event_date") == [("u", date(2024, 1, 2)), ("v", date(2024, 1, 1))]
    apart = shop.rows(REJECTED_EVENTS, "reason", "rule", "event.user_id", "event.item_id", "ingest_date")
    places = (("0", 1), ("1", 1), ("2", 1), ("a", 2))
    assert apart == [("bot", "events_per_day", "u", item, date(2024, 1, day)) for item, day in places]
    version = shop.version(REJECTED_EVENTS)
    assert shop.clean(1, events__clock_skew_minutes=59).rows["rejected_bot"] == 3
    assert shop.version(REJECTED_EVENTS) == version, "the same day again commits nothing"
    shop.write(2, [])
    assert shop.clean(2).rows["restored"] == 3
    assert shop.contents() == before


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["bots.events_per_day", "events.max_per_user_day"])
def test_an_event_set_apart_is_in_one_place_after_an_earlier_day_of_the_logs_took_it_over(
    rule: str, spark: SparkSession, tmp_path: Path
) -> None:
    shop = Shop(spark, tmp_path, JSON_LINES | {rule: 3})
    lines = [record("u", f"01 10:00:0{n}", item=str(n)) for n in range(4)]
    shop.write(2, lines)
    shop.write(1, lines[3:])
    shop.clean(2)
    shop.clean(1)
    whole = replace(shop, tables="whole")
    whole.clean(1, 2)
    assert shop.contents() == whole.contents()


def test_rules_that_make_bots_of_most_users_stop_the_night(shop: Shop) -> None:
    shop.write(1, [record(user, f"01 10:00:0{n}", item=str(n)) for user in "uv" for n in range(4)])
    shop.write(1, [record("w", "01 10:00:00")], "2.json")
    outcome = shop.run(clean_events.JOB, 1, bots__max_user_share=0.6)
    assert (outcome.exit_code, "2 of 3 users" in outcome.reason) == (4, True)
    assert shop.rows(EVENTS) == []


def random_logs(seed: int) -> Iterator[tuple[int, str]]:
    """(day of the logs, record) of some users' three days: fast ones, full ones, late, repeated, refused ones."""
    dice = random.Random(seed)
    for user in range(4):
        for event_day in (1, 2, 3):
            for _ in range(dice.choice((0, 1, 2, 4, 5, 8))):
                day = dice.randint(event_day, 3)
                time = f"{event_day:02} 10:{dice.choice((0, 0, 1, 30)):02}:{dice.randrange(3):02}"
                kind = dice.choice(("view", "view", "cart", "purchase", "stare"))
                line = record(f"u{seed}-{user}", time, item=dice.choice("abc"), kind=kind)
                yield day, line
                for _ in range(dice.choice((0, 0, 1))):
                    yield dice.randint(day, 3), line


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "days", [(3, 1, 2), *(pytest.param(days, marks=pytest.mark.slow) for days in ((1, 2, 3), (2, 3, 1)))]
)
def test_days_in_any_order_give_the_events_and_rejects_of_one_pass(
    days: tuple[int, ...], spark: SparkSession, tmp_path: Path
) -> None:
    """Thirty small logs at once, of different users: identical records, bots by two rules, a cap of three events."""
    rules = {"bots.events_per_minute": 4, "bots.events_per_day": 6, "events.max_per_user_day": 3}
    whole = Shop(spark, tmp_path, JSON_LINES | rules, "whole")
    logs = [entry for seed in range(30) for entry in random_logs(seed)]
    for day in (1, 2, 3):
        whole.write(day, [line for of, line in logs if of == day])
    counts = whole.clean(1, 3).rows
    assert all(counts[f"rejected_{name}"] > 20 for name in ("bot", "over_the_cap", "unknown_type"))
    assert counts["duplicates"] > 20
    expected = whole.contents()
    assert len(expected[0]) + len(expected[1]) + counts["duplicates"] == counts["records"]
    assert {row[10] for row in expected[1]} == {None, "events_per_minute", "events_per_day"}
    piecewise = replace(whole, tables="piecewise")
    assert sum(piecewise.clean(day).rows.get("withdrawn", 0) for day in days) > 10
    assert piecewise.contents() == expected


@pytest.mark.slow
def test_refused_records_are_kept_for_so_many_days_of_logs(shop: Shop) -> None:
    """A day that is read again does not bring them back."""
    for day in (1, 10):
        shop.write(day, [record(None, f"{day} 10:00:00"), record("u", f"{day:02} 10:00:00")])
    shop.clean(1, events__rejected_days=9)
    version = shop.version(REJECTED_EVENTS)
    shop.clean(1, events__rejected_days=10)
    assert shop.version(REJECTED_EVENTS) == version
    shop.clean(10, events__rejected_days=10)
    assert len(shop.rows(REJECTED_EVENTS)) == 2
    shop.clean(10, events__rejected_days=9)
    assert shop.rows(REJECTED_EVENTS, "ingest_date") == [(date(2024, 1, 10),)]
    version = shop.version(REJECTED_EVENTS)
    shop.clean(1, events__rejected_days=9)
    assert shop.rows(REJECTED_EVENTS, "ingest_date") == [(date(2024, 1, 10),)]
    assert len(shop.rows(EVENTS)) == 2


class KilledError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("commits", [1, 2])
def test_a_night_that_ends_between_two_commits_is_put_right_by_the_next_run(
    shop: Shop, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Day 2 makes u's day 1 a bot's and gives v's back; it stops after so many of its commits."""
    day1 = [record(user, f"01 10:00:0{n}", item=str(n)) for user in "uv" for n in range(3)]
    shop.write(1, day1)
    shop.write(2, [record("v", "01 23:00:00")])
    shop.clean(1, 2)
    shop.write(2, [record("u", "01 23:00:00")])
    original, calls = Store.replace, []

    def replace_until_killed(store: Store, table: Table, rows: DataFrame, where: str) -> None:
        if len(calls) == commits:
            raise KilledError
        calls.append(where)
        original(store, table, rows, where)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "replace", replace_until_killed)
        assert shop.run(clean_events.JOB, 2).exit_code == 10
    shop.clean(2)
    whole = replace(shop, tables="whole")
    whole.clean(1, 2)
    assert shop.contents() == whole.contents()
    assert {row[0] for row in shop.rows(EVENTS, "user_id")} == {"v"}
