from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Items
from nextaisle.contract.check import check_schema
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.contract.tables import ITEMS
from nextaisle.sequences import read_catalogue, rebuild_items
from nextaisle.sequences.catalogue import ATTRIBUTES
from nextaisle.sequences.items import NEVER
from tests.sequences.events import Event, events_of

DAY = 24 * 60
FIRST, LAST = date(2017, 3, 11), date(2017, 3, 13)
EVER = date(1970, 1, 1)


def catalogue(spark: SparkSession, **brands: str) -> DataFrame:
    schema = "item_id string, title string, department string, category string, brand string, product_type string, "
    rows = [(item, None, None, None, brand, None, None, None) for item, brand in brands.items()]
    return spark.createDataFrame(rows, schema + "price decimal(18,4), image string")


def made(items: DataFrame) -> DataFrame:
    return check_schema(items, ITEMS).localCheckpoint()


def shown(items: DataFrame) -> list[tuple[Any, ...]]:
    rows = items.orderBy("item_index", "valid_from")
    return [tuple(r) for r in rows.select("item_id", "item_index", "valid_from", "brand").collect()]


def days_seen(items: DataFrame) -> dict[str, tuple[int, int]]:
    return {row.item_id: (row.first_seen_date.day, row.last_seen_date.day) for row in items.collect()}


def test_items_are_numbered_as_they_come_and_keep_their_number(spark: SparkSession) -> None:
    none = spark.createDataFrame([], ITEMS.schema)
    kept = [Event("u", 0, "m"), Event("u", 1, "b"), Event("u", DAY, "a"), Event("u", 2, None), Event("u", 3, "l")]
    early = [*kept, Event("u", 2 * DAY, "l"), Event("u", DAY, "x")]
    items = made(rebuild_items(events_of(spark, early), catalogue(spark), none, FIRST, FIRST))
    assert shown(items) == [(name, index, EVER, None) for index, name in enumerate("blmax", start=1)]
    # A late event of a new item, and one that makes a known item older; the only event of x is taken back.
    late = [Event("u", -DAY, "c"), Event("u", -DAY, "a"), Event("u", 2 * DAY, "m")]
    events = events_of(spark, [*kept, Event("u", 2 * DAY, "l"), *late])
    items = made(rebuild_items(events, catalogue(spark), items, FIRST - timedelta(days=1), LAST))
    assert [row[0] for row in shown(items)] == list("blmaxc")
    days = {"a": (10, 12), "b": (11, 11), "c": (10, 10), "m": (11, 13)}
    assert days_seen(items) == days | {"l": (11, 13), "x": (31, 31)}
    assert items.where(F.col("last_seen_date") == NEVER).count() == 1
    # The last event of l is taken back, and x has one again, on another day than it had.
    events = events_of(spark, [*kept, *late, Event("u", 2 * DAY, "x")])
    items = made(rebuild_items(events, catalogue(spark), items, LAST, LAST))
    assert days_seen(items) == days | {"l": (11, 11), "x": (13, 13)}


def test_changed_attributes_hold_from_the_night_on_and_the_same_night_again_changes_nothing(
    spark: SparkSession,
) -> None:
    none = spark.createDataFrame([], ITEMS.schema)
    events = events_of(spark, [Event("u", 0, "a"), Event("u", 0, "b")])
    items = made(rebuild_items(events, catalogue(spark, a="x", z="x"), none, EVERYTHING, FIRST))
    assert shown(items) == [("a", 1, EVER, "x"), ("b", 2, EVER, None)]
    for _ in range(2):
        items = made(rebuild_items(events, catalogue(spark, a="y"), items, EVERYTHING, LAST))
        assert shown(items) == [("a", 1, EVER, "x"), ("a", 1, LAST, "y"), ("b", 2, EVER, None)]


def test_a_catalogue_is_read_as_it_is_mapped(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,name,cost\n1,Milk,1.5\n2, ,dear\n1,Apple,2\n")
    columns = {"item_id": "id", "title": "upper(name)", "price": "cost"}
    source = Items(path=str(path), format="csv", schema="", options={"header": "true"}, columns=columns)
    rows = {row.item_id: (row.title, row.price and float(row.price), row.brand) for row in
            read_catalogue(spark, source, "UTC").collect()}  # fmt: skip
    assert rows == {"1": ("MILK", 1.5, None), "2": (None, None, None)}
    with pytest.raises(ConfigurationError, match=r"brand = 'maker'.*'name'"):
        read_catalogue(spark, source.model_copy(update={"columns": columns | {"brand": "maker"}}), "UTC")
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        read_catalogue(spark, source.model_copy(update={"path": str(tmp_path / "nowhere.csv")}), "UTC")


def dated(spark: SparkSession, *rows: tuple[str, date | None, str]) -> DataFrame:
    """A catalogue with valid_from, of (item, valid_from, brand)."""
    return spark.createDataFrame(rows, "item_id string, valid_from date, brand string").select(
        "item_id", "valid_from", *(F.col(n) if n == "brand" else F.lit(None).alias(n) for n in ATTRIBUTES)
    )


def test_a_dated_catalogue_says_what_held_on_old_days_and_nothing_of_days_to_come(spark: SparkSession) -> None:
    none = spark.createDataFrame([], ITEMS.schema)
    events = events_of(spark, [Event("u", 0, "a"), Event("u", DAY, "b"), Event("u", 2 * DAY, "c")])
    rows = [("a", EVER, "x"), ("a", date(2017, 3, 12), "y"), ("a", LAST, "z"), ("b", LAST, "w"), ("nobody", EVER, "x")]
    catalogue = dated(spark, *rows)
    by_day = none
    for day in (FIRST, LAST):
        by_day = made(
            rebuild_items(events.where(F.col("ingest_date") <= F.lit(day)), catalogue, by_day, EVERYTHING, day)
        )
        if day == FIRST:
            assert shown(by_day) == [("a", 1, EVER, "x")]
    once = made(rebuild_items(events, catalogue, none, EVERYTHING, LAST))
    assert shown(by_day) == shown(once) == [
        ("a", 1, EVER, "x"), ("a", 1, date(2017, 3, 12), "y"), ("a", 1, LAST, "z"),
        ("b", 2, EVER, None), ("b", 2, LAST, "w"), ("c", 3, EVER, None),
    ]  # fmt: skip


@pytest.mark.slow
def test_what_stood_there_before_the_catalogue_was_dated_or_mended_is_told_by_it(spark: SparkSession) -> None:
    none, middle = spark.createDataFrame([], ITEMS.schema), date(2017, 3, 12)
    events = events_of(spark, [Event("u", 0, "a"), Event("u", 0, "b")])
    items = made(rebuild_items(events, catalogue(spark, a="x", b="x"), none, EVERYTHING, FIRST))
    items = made(rebuild_items(events, catalogue(spark, a="y", b="x"), items, EVERYTHING, LAST))
    # b is not in the new catalogue, and keeps what it has; of a the row of LAST says what holds since the day before.
    told = dated(spark, ("a", middle, "z"), ("a", date(2017, 3, 20), "later"))
    items = made(rebuild_items(events, told, items, EVERYTHING, LAST))
    assert shown(items) == [("a", 1, EVER, None), ("a", 1, middle, "z"), ("a", 1, LAST, "z"), ("b", 2, EVER, "x")]


def test_days_of_a_catalogue_are_the_shops_and_what_is_no_day_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,since,maker\n1,2024-01-05T03:00:00Z,x\n1,,w\n1,1969-01-01,v\n2,2024-01-06T12:00:00Z,y\n")
    columns = {"item_id": "id", "brand": "maker", "valid_from": "cast(since as timestamp)"}
    source = Items(path=str(path), format="csv", schema="", options={"header": "true"}, columns=columns)
    rows = {(row.item_id, row.valid_from): row.brand for row in
            read_catalogue(spark, source, "America/New_York").collect()}  # fmt: skip
    assert rows == {("1", EVER): "v", ("1", date(2024, 1, 4)): "x", ("2", date(2024, 1, 6)): "y"}
    path.write_text("id,since,maker\n1,soon,x\n")
    text = source.model_copy(update={"columns": columns | {"valid_from": "since"}})
    with pytest.raises(InputError, match="'soon', expected a day"):
        read_catalogue(spark, text, "UTC")
