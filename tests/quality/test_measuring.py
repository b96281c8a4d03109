"""Suites on a few rows: what fails is counted by day, and the first of it named."""

from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from nextaisle.contract.tables import EVENTS
from nextaisle.quality.expectations import WARNING, Expectation, Suite, unique
from nextaisle.quality.measuring import Measured, measure
from tests.quality.shop import DAY_1, DAY_2, at, event

VALUES = {"first": DAY_1, "last": DAY_2}
ROWS = "select event_date as day, event_id, price, rating from {events}"


@pytest.fixture
def on(spark: SparkSession) -> Measured:
    """Three events of day 1, one of day 2, and one of a day that nobody asks for."""
    rows = [
        event("a", "u", at(1, 10), price=Decimal(1)), event("b", "u", at(1, 11), price=Decimal(-1)),
        event("c", "u", at(1, 12)), event("d", "u", at(2, 10), price=Decimal(-2)),
        event("e", "u", at(3, 10), price=Decimal(-3)),
    ]  # fmt: skip
    return Measured({"events": spark.createDataFrame(rows, EVENTS.schema)}, VALUES, sample_rows=1)


def test_what_is_false_or_unknown_fails_is_counted_by_day_and_the_first_is_named(
    spark: SparkSession, on: Measured
) -> None:
    suite = Suite(
        EVENTS, ROWS, ("event_id",), (Expectation("positive", "price > 0"), Expectation("named", "event_id > ''"))
    )
    found = {(o.check, o.day): (o.value, o.row_count, o.outcome, o.sample) for o in measure(spark, [suite], on)}
    assert found == {
        ("positive", DAY_1): (2, 3, "failed", ("event_id=b",)),
        ("positive", DAY_2): (1, 1, "failed", ("event_id=d",)),
        ("named", DAY_1): (0, 3, "passed", ()),
        ("named", DAY_2): (0, 1, "passed", ()),
    }


def test_a_key_of_several_columns_names_nulls_too_and_suites_without_their_table_are_left_out(
    spark: SparkSession, on: Measured
) -> None:
    once = Suite(EVENTS, ROWS, ("event_id", "rating"), (Expectation("rated", "rating is not null", WARNING),))
    elsewhere = Suite(EVENTS, "select * from {events}, {items}", (), (Expectation("joined", "true"),))
    found = measure(spark, [once, unique(EVENTS, "user_id"), elsewhere], on)
    samples = [(o.check, o.day, o.severity, o.sample) for o in found if o.has_failed and o.day == date(2024, 1, 1)]
    assert samples == [
        ("rated", DAY_1, "warning", ("event_id=a, rating=null",)),
        ("unique_key", DAY_1, "error", ("user_id=u",)),
    ]


def test_keys_that_differ_by_where_a_null_is_are_different(spark: SparkSession) -> None:
    days = [DAY_1, DAY_1, DAY_1, DAY_2, DAY_2]
    keys = [("a", None), (None, "a"), (None, None), ("a", None), ("a", None)]
    rows = [(day, *key) for day, key in zip(days, keys, strict=True)]
    frame = spark.createDataFrame(rows, "event_date date, user_id string, item_id string")
    found = measure(spark, [unique(EVENTS, "user_id", "item_id")], Measured({"events": frame}, VALUES, sample_rows=5))
    assert {(o.day, o.value, o.row_count, o.sample) for o in found} == {
        (DAY_1, 0, 3, ()), (DAY_2, 1, 1, ("user_id=a, item_id=null",)),
    }  # fmt: skip
