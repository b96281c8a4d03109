"""What values of a log become, and which day a log without days is of."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError
from nextaisle.events.mapping import last_plausible_day, map_records
from nextaisle.events.records import IS_UNREADABLE
from nextaisle.events.rereading import KEPT_INGEST_DATE, reread_records
from nextaisle.spark import mapping_rules
from tests.events.shops import COLUMNS


def of_columns(path: Path, **columns: str) -> Settings:
    words = [f"source.columns.{name}={text}" for name, text in (COLUMNS | columns).items()]
    return overlays.load(assignments=[f"store.root={path}", "source.format=parquet", *words])


def test_a_text_that_is_no_utf_8_and_a_number_that_is_none_are_unknown(spark: SparkSession, tmp_path: Path) -> None:
    schema = "user binary, item string, kind string, time string, stars double"
    rows = [
        ("café".encode("latin-1"), "a", "view", "2024-01-01", float("nan")),
        (" café ".encode(), "caf\ufffd", "view", "2024-01-01", float("inf")),
        (b"u", "b", "view", "2024-01-01", -0.5),
    ]
    with mapping_rules(spark):
        source = of_columns(tmp_path, rating="stars").source
        mapped = map_records(spark.createDataFrame(rows, schema), source)
    found = [tuple(row) for row in mapped.select("user_id", "item_id", "rating").collect()]
    assert found == [(None, "a", None), ("café", None, None), ("u", "b", -0.5)]


def test_times_of_another_unit_are_said_to_be_and_one_wrong_clock_is_not(
    spark: SparkSession, settings: Settings
) -> None:
    day = F.when(F.col("id") == 0, F.lit(19_722_000)).otherwise(F.lit(19_722))
    times = spark.range(2_000).select(F.date_from_unix_date(day).alias("event_date"), F.lit(False).alias(IS_UNREADABLE))
    assert last_plausible_day(times, settings.events) == date(2023, 12, 31)
    with pytest.raises(ConfigurationError, match=r"year 5\d{4}; is the unit right"):
        last_plausible_day(times.where("event_date > '2024-01-01'"), settings.events)


def test_maps_whose_keys_are_no_texts_are_read_again(spark: SparkSession, tmp_path: Path) -> None:
    kept = b'{"user":"u","acts":[{"1":"a"}],"time":"2024-01-01"}'
    schema = "user STRING, acts ARRAY<MAP<INT, STRING>>, time STRING"
    texts = ("path", "reason", "record_schema", "row", "row_schema")
    columns = ", ".join(["record binary, ingest_date date", *(f"{name} string" for name in texts)])
    refused = spark.createDataFrame([(kept, date(2024, 1, 1), "1", "odd_item", schema, None, None)], columns)
    source = of_columns(tmp_path, item_id="acts[0][1]", event_type="concat('view')").source
    with mapping_rules(spark):
        (records,) = reread_records(refused, source)
        mapped = map_records(records, source).select("user_id", "item_id", KEPT_INGEST_DATE)
    assert [tuple(row) for row in mapped.collect()] == [("u", "a", date(2024, 1, 1))]
