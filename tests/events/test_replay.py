"""Refused records, replayed after the mapping was mended, give what clean_events gives with the mended mapping."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import replay_rejected
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, Table
from nextaisle.storage.store import Store
from tests.events.shops import COLUMNS, JSON_LINES, Shop, record

CART = {"source.event_types.addtocart": "cart"}
BASKETS = JSON_LINES | {
    "source.schema": "user string, time string, acts array<struct<item: string, kind: string>>",
    "source.rows": "explode(acts) as act",
    "source.columns.item_id": "act.item", "source.columns.event_type": "act.kind",
}  # fmt: skip
TEXT = JSON_LINES | {
    "source.format": "text",
    **{f"source.columns.{name}": f"split(value, ' ')[{place}]" for place, name in enumerate(COLUMNS) if place < 3},
    "source.columns.event_time": "substring_index(value, ' ', -2)",
}
CSV = JSON_LINES | {"source.format": "csv", "source.options.header": '"true"', "source.schema": ""}
TYPED_CSV = CSV | {"source.schema": "user string, item int, kind string, time timestamp_ntz"}
PIPES = CSV | {"source.schema": "who string, item string, kind string, time string", "source.options.header": '"false"'}


def basket(user: str, time: str, *acts: str) -> str:
    parts = [dict(zip(("item", "kind"), act.split(), strict=True)) for act in acts]
    return json.dumps({"user": user, "time": f"2024-01-{time.replace(' ', 'T')}Z", "acts": parts})


LOGS = {
    # Identical records, of which some were refused before and some were not; a line that stays unreadable.
    "json": (
        JSON_LINES, CART, {"rejected_unreadable": 1, "rejected_missing_user": 1},
        [
            record("u", "01 10:00:00", kind="addtocart"), record("u", "01 10:00:00", kind="addtocart"),
            record("u", "01 10:00:00", kind="cart"), record("v", "01 10:00:00"), '{"user": "w", ',
            record(None, "01 10:00:00", kind="addtocart"),
        ],
    ),
    # A record of several rows, accepted, refused, and alike.
    "baskets": (
        BASKETS, CART, {"rejected_missing_user": 1},
        [
            basket("u", "01 10:00:00", "a view", "a addtocart", "b addtocart", "a cart", "a addtocart"),
            basket("u", "01 10:00:00", "a view", "a addtocart"), basket(" ", "01 10:00:00", "a view"),
        ],
    ),
    "text": (
        TEXT, CART, {"rejected_unknown_type": 1},
        ["u a addtocart 2024-01-01 10:00:00", "u b view 2024-01-01 10:00:00.123456", "u b stare 2024-01-01 10:00:00"],
    ),
    "csv": (
        CSV, CART, {"rejected_missing_user": 1},
        [
            "user,item,kind,time", "u,a,addtocart,2024-01-01 10:00:00", 'u,"a, ""b""",addtocart,2024-01-01 10:00:00',
            "u,a,view,2024-01-01 10:00:00", ",a,addtocart,2024-01-01 10:00:00",
        ],
    ),
    # The item is no number: what is mended is the schema.
    "typed csv": (
        TYPED_CSV, {"source.schema": "user string, item string, kind string, time timestamp_ntz"},
        {"rejected_unknown_type": 1, "rejected_unreadable": 1},
        [
            "user,item,kind,time", "u,a,cart,2024-01-01 10:00:00.123456", "u,7,view,2024-01-01 10:00:00",
            "u,7,stare,2024-01-01 10:00:00.654321", "u,7,view,soon",
        ],
    ),
    # The schema has the wrong name for the first column, which goes by its place.
    "csv by place": (
        PIPES | {"source.columns.user_id": "nullif(who, 'u')"},
        {"source.schema": "user string, item string, kind string, time string", "source.columns.user_id": "user"},
        {}, ["u,a,cart,2024-01-01 10:00:00", "v,b,view,2024-01-01 10:00:00"],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGS)
def test_replayed_records_become_what_the_mended_mapping_makes_of_their_files(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    wrong, mended, stays, lines = LOGS[name]
    shop, whole = Shop(spark, tmp_path, wrong), Shop(spark, tmp_path, wrong | mended, "whole")
    shop.write(1, lines)
    refused = shop.clean(1).rows["rejected"]
    expected = whole.clean(1).rows
    assert {key: count for key, count in expected.items() if key.startswith("rejected_")} == stays
    shop = replace(shop, rules=wrong | mended)
    before, versions = shop.contents(), (shop.version(EVENTS), shop.version(REJECTED_EVENTS))
    counted = shop.replay(1, replay__counts_only="true").rows
    assert (shop.contents(), (shop.version(EVENTS), shop.version(REJECTED_EVENTS))) == (before, versions)
    replayed = shop.replay(1)
    good = refused - expected["rejected"]
    assert counted == replayed.rows == {
        "records": refused, "accepted": good, "rejected": refused - good, "duplicates": 0, **stays
    }  # fmt: skip
    assert shop.contents() == whole.contents()


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path, JSON_LINES)


@pytest.mark.slow
def test_replaying_twice_or_reading_the_file_again_counts_an_event_once(shop: Shop) -> None:
    shop.write(1, LOGS["json"][3])
    shop.clean(1)
    mended = replace(shop, rules=JSON_LINES | CART)
    mended.replay(1)
    contents, version = mended.contents(), mended.version(EVENTS)
    assert mended.replay(1).outcome == "unchanged"
    assert mended.replay(1, 2).rows["accepted"] == 0
    mended.clean(1)
    assert mended.contents() == contents
    assert mended.version(EVENTS) == version


@pytest.mark.slow
def test_only_days_and_reasons_that_are_asked_for_are_replayed(shop: Shop) -> None:
    for day in (1, 2):
        lines = [record("u", f"0{day} 10:00:00", kind="addtocart"), record("u", f"0{day} 10:00:00", None, kind="cart")]
        shop.write(day, lines)
    shop.clean(1, 2)
    mended = {"source.event_types.addtocart": "cart", "source.columns.item_id": "coalesce(item, 'none')"}
    shop = replace(shop, rules=JSON_LINES | mended)
    assert shop.replay(2, replay__reasons='["unknown_type"]').rows == {
        "records": 1, "accepted": 1, "rejected": 0, "duplicates": 0
    }  # fmt: skip
    assert [row[0] for row in shop.rows(REJECTED_EVENTS, "reason")] == ["missing_item", "missing_item", "unknown_type"]
    assert [str(row[0]) for row in shop.rows(EVENTS, "event_date")] == ["2024-01-02"]


@pytest.mark.slow
def test_a_replayed_event_that_other_days_brought_is_a_repetition_or_takes_its_place(shop: Shop) -> None:
    """Day 1 and 3 bring event 1 in words that were refused, day 2 in good ones: day 1 keeps it."""
    bad, good = (record("u", "01 10:00:00", kind=kind, id="1") for kind in ("addtocart", "cart"))
    for day, line in ((1, bad), (2, good), (3, bad)):
        shop.write(day, [line])
    shop = replace(shop, rules=JSON_LINES | {"source.columns.event_id": "id"})
    shop.clean(1, 3)
    shop = replace(shop, rules={**shop.rules, **CART})
    assert shop.replay(3).rows["duplicates"] == 1
    assert shop.replay(1).rows["accepted"] == 1
    assert [(row[0], str(row[1])) for row in shop.rows(EVENTS, "event_id", "ingest_date")] == [("1", "2024-01-01")]
    assert shop.rows(REJECTED_EVENTS) == []


@pytest.mark.slow
def test_replayed_events_make_a_bot_and_mended_rules_give_its_day_back(shop: Shop) -> None:
    shop.write(1, [record("u", f"01 10:00:0{n}", kind=kind) for n, kind in enumerate(("view", "view", "addtocart"))])
    shop.clean(1)
    strict = replace(shop, rules=JSON_LINES | CART | {"bots.events_per_day": 2})
    assert strict.replay(1).rows == {
        "records": 1, "accepted": 0, "rejected": 1, "duplicates": 0, "rejected_bot": 1, "withdrawn": 2
    }  # fmt: skip
    assert (len(strict.rows(EVENTS)), len(strict.rows(REJECTED_EVENTS))) == (0, 3)
    lenient = replace(shop, rules=JSON_LINES | CART)
    assert lenient.replay(1, replay__reasons='["bot"]').rows["restored"] == 3
    whole = replace(lenient, tables="whole")
    whole.clean(1)
    assert lenient.contents() == whole.contents()


class KilledError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("commits", [1, 2])
def test_a_replay_that_ends_between_two_commits_is_put_right_by_the_next(
    shop: Shop, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write(1, LOGS["json"][3])
    shop.clean(1)
    mended = replace(shop, rules=JSON_LINES | CART)
    original, calls = Store.replace, []

    def replace_until_killed(store: Store, table: Table, rows: DataFrame, where: str) -> None:
        if len(calls) == commits:
            raise KilledError
        calls.append(where)
        original(store, table, rows, where)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "replace", replace_until_killed)
        assert mended.run(replay_rejected.JOB, 1).exit_code == 10
    mended.replay(1)
    whole = replace(mended, tables="whole")
    whole.clean(1)
    assert mended.contents() == whole.contents()


@pytest.mark.slow
def test_lines_are_not_replayed_as_another_format(shop: Shop) -> None:
    shop.write(1, [record("u", "01 10:00:00", kind="addtocart")])
    shop.clean(1)
    outcome = shop.run(replay_rejected.JOB, 1, **{"source.format": "parquet"})
    assert (outcome.exit_code, "source.format is 'parquet'" in outcome.reason) == (2, True)
