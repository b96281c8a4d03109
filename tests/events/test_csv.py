"""CSV whose headers are as people's tools make them."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from tests.events.shops import JSON_LINES, Shop

CSV = JSON_LINES | {"source.schema": "", "source.format": "csv", "source.options": '{header="true"}'}
# As pandas writes it, with an index.
HEADER = ",user,item,kind,time,Price,Price,a`b,_metadata"


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path, CSV | {"source.columns.price": "Price6"})


@pytest.mark.slow
def test_names_that_are_empty_repeated_or_odd_are_read_as_spark_calls_them(shop: Shop) -> None:
    shop.write(1, [], "0.csv")
    shop.write(1, [HEADER, "0,u,a,view,2024-01-01 10:00:00,1,2,x,y"], "1.csv")
    shop.write(1, [HEADER, "0,v,a,view,2024-01-01 10:00:00,1,3,x,y", "1,,a,view,2024-01-01,1,3,x,y"], "2.csv")
    shop.clean(1)
    assert [(user, int(price)) for user, price in shop.rows(EVENTS, "user_id", "price")] == [("u", 2), ("v", 3)]
    assert [count for (count,) in shop.rows(SOURCE_FILES, "record_count")] == [0, 1, 2]
    assert [b'"a`b":"x","_metadata":"y"' in row[0] for row in shop.rows(REJECTED_EVENTS, "record")] == [True]
    shop.write(1, [HEADER.replace("user,item", "item,user"), "0,a,w,view,2024-01-01 10:00:00,1,2,x,y"], "3.csv")
    other = shop.run(clean_events.JOB, 1)
    assert (other.exit_code, "3.csv has the columns" in other.reason) == (3, True)


def test_a_csv_without_a_byte_is_a_day_without_events_and_one_without_a_line_is_named(shop: Shop) -> None:
    shop.write(1, [], "1.csv")
    assert shop.clean(1).rows["records"] == 0
    shop.write(2, [""], "2.csv")
    blank = shop.run(clean_events.JOB, 2)
    assert (blank.exit_code, "2.csv has neither a header nor rows" in blank.reason) == (3, True)
