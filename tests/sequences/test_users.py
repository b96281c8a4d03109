"""What is known of users and items as of days: the table users, and both tables night by night."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import build_sequences, build_sessions
from nextaisle.config import Items, Settings, Users
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import ITEMS, USERS, Table
from nextaisle.job import execute
from nextaisle.scoring.users import read_listed_users
from nextaisle.sequences import changed_users, read_users
from nextaisle.storage.store import Store
from tests.sequences.events import Event, in_new_york, publish

EVER = date(1970, 1, 1)
DAYS = [date(2017, 3, 11) + timedelta(days=n) for n in range(4)]


def source(path: Path, text: str, **columns: str) -> Users:
    path.write_text(text)
    mapped = {"user_id": "id", "region": "place"} | columns
    return Users(path=str(path), format="csv", schema="", options={"header": "true"}, columns=mapped)


def shown(users: DataFrame) -> list[tuple[Any, ...]]:
    rows = users.orderBy("user_id", "valid_from")
    return [tuple(row) for row in rows.select("user_id", "valid_from", "region").collect()]


def test_a_users_change_holds_from_the_day_on_which_it_was_first_seen(spark: SparkSession, tmp_path: Path) -> None:
    none = spark.createDataFrame([], USERS.schema)
    before = read_users(spark, source(tmp_path / "1.csv", "id,place\nu,north\nv,\n"), "UTC")
    users = check_schema(changed_users(before, none, DAYS[0]), USERS).localCheckpoint()
    assert shown(users) == [("u", EVER, "north"), ("v", EVER, None)]
    # w is new, of u nothing has changed, and v has a region now.
    after = read_users(spark, source(tmp_path / "2.csv", "id,place\nu,north\nv,south\nw,east\n"), "UTC")
    assert shown(changed_users(after, users, DAYS[2])) == [("v", DAYS[2], "south"), ("w", EVER, "east")]


def test_a_list_of_users_with_days_says_what_they_were_and_scoring_still_finds_each_once(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = "id,place,since\nu,north,2017-03-11\nu,south,2017-03-13\nv,west,\n"
    users = source(tmp_path / "users.csv", text, valid_from="since")
    none = spark.createDataFrame([], USERS.schema)
    assert shown(changed_users(read_users(spark, users, "UTC"), none, DAYS[1])) == [
        ("u", EVER, None), ("u", DAYS[0], "north"), ("v", EVER, "west"),
    ]  # fmt: skip
    assert sorted(row.user_id for row in read_listed_users(spark, users, "UTC").collect()) == ["u", "v"]


def known(spark: SparkSession, settings: Settings, table: Table) -> list[Any]:
    return sorted(
        (tuple(row) for row in Store(spark, settings.store).read(table).drop("item_index").collect()), key=repr
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nights_backwards_or_one_by_one_tell_of_items_and_users_what_one_build_tells(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    dated = {"valid_from": "since"}
    changes = "a,x,2017-03-12\na,y,2017-03-14\na,z,2017-03-20\nb,x,2017-03-13\n"
    (tmp_path / "items.csv").write_text("id,maker,since\n" + changes)
    users = source(tmp_path / "users.csv", "id,place,since\n" + changes, **dated)
    items = Items(**{**users.model_dump(by_alias=True), "path": str(tmp_path / "items.csv")} | {
        "columns": {"item_id": "id", "brand": "maker"} | dated
    })  # fmt: skip
    events = [Event("u", 60, "a"), Event("u", 24 * 60 * 2, "b", late=1), Event("u", 24 * 60 * 3, "c")]
    orders = {"once": [(0, 3)], "one_by_one": [(n, n) for n in range(4)], "backwards": [(3, 3), (0, 2)]}
    found = []
    for name, nights in orders.items():
        store = settings.store.model_copy(update={"root": str(tmp_path / name)})
        mine = in_new_york(settings.model_copy(update={"store": store, "items": items, "users": users}))
        for first, last in nights:
            arrived = events if name == "backwards" else [e for e in events if e.ingest_day <= DAYS[last]]
            publish(spark, mine, arrived)
            for job in (build_sessions.JOB, build_sequences.JOB):
                outcome = execute(job, mine, spark, DAYS[first], DAYS[last])
                assert outcome.exit_code == 0, outcome.reason
        found.append((known(spark, mine, ITEMS), known(spark, mine, USERS)))
    assert found[0] == found[1] == found[2]
    assert [row[1] for row in found[0][1]] == [EVER, DAYS[1], DAYS[3], EVER, DAYS[2]]
