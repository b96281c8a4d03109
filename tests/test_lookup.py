"""Latest rows of users are found in a table's files without reading all of them."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Settings
from nextaisle.contract.errors import SchemaError
from nextaisle.contract.tables import SEQUENCES, Column
from nextaisle.delta_log import DeltaLog
from nextaisle.kernels import ArrowRows, Part
from nextaisle.lookup import rows_in
from nextaisle.store import Store

FIRST = date(2024, 1, 1)
USERS, EVENTS = 120, 400


def rows(spark: SparkSession, days: int) -> DataFrame:
    """User n comes on every (n + 1)th day."""
    came = spark.range(days * USERS).selectExpr(f"id div {USERS} day", f"id % {USERS} number")
    came = came.where("day % (number + 1) = 0")
    lists = {
        "item_ids": "concat('i', n, '-', day)",
        "item_indices": "int(n)",
        "event_types": "'view'",
        "event_times": "timestamp_seconds(1700000000 + n * 3600)",
        "prices": "cast(n as decimal(18,4))",
        "is_session_start": "n % 8 = 1",
    }
    # Every 50th is null, and all may be.
    arrays = [
        f"transform(sequence(1, {EVENTS}), n -> if(n % 50 > 0, {one}, null)) {name}" for name, one in lists.items()
    ]
    scalars = ["format_string('u%03d', number) user_id", f"date_add(DATE'{FIRST}', int(day)) as_of_date"]
    return came.selectExpr(*scalars, f"day + {EVENTS} event_count", *arrays)


def written(spark: SparkSession, settings: Settings, folder: Path | str, days: int, by_python: bool = True) -> Store:
    store = Store(spark, settings.store.model_copy(update={"root": str(folder)}))
    made = rows(spark, days).repartition(2, "user_id").sortWithinPartitions("user_id", "as_of_date")
    store.replace(SEQUENCES, ArrowRows(SEQUENCES, (Part(made),)) if by_python else made, "as_of_date IS NOT NULL")
    return store.fresh()


def told(frame: DataFrame) -> list[Any]:
    return sorted(tuple(row) for row in frame.collect())


def users(spark: SparkSession, *numbers: int) -> DataFrame:
    return spark.createDataFrame([(f"u{number:03d}",) for number in numbers], "user_id string")


def user_ids(path: str) -> list[str]:
    """Of users 0 and 1 those that are in a file."""
    known: list[str] = pq.read_table(path, columns=["user_id"], partitioning=None)["user_id"].to_pylist()
    return [user for user in ("u000", "u001") if user in known]


@pytest.mark.parametrize(
    ("by_python", "is_reached", "most_shared"),
    [
        (True, True, 99),
        pytest.param(True, True, 3, marks=pytest.mark.slow),
        pytest.param(False, True, 99, marks=pytest.mark.slow),
        (True, False, 99),
    ],
)
def test_they_are_the_rows_that_spark_finds(
    spark: SparkSession,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_python: bool,
    is_reached: bool,
    most_shared: int,
) -> None:
    store = written(spark, settings, tmp_path / "a[1] 50%{b}?#", 12, by_python)
    if not is_reached:
        monkeypatch.setattr(DeltaLog, "folder", lambda _: None)
    monkeypatch.setattr("nextaisle.lookup._MOST_SHARED", most_shared)
    wanted = [0, 1, 3, 4, 10, 11, 50, 119, 500]
    for day in (1, 7, 12):
        before = FIRST + timedelta(days=day)
        found = told(store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, *wanted), before).frame())
        known = [row for row in told(store.read(SEQUENCES)) if row[1] < before and int(row[0][1:]) in wanted]
        assert found == sorted({row[0]: row for row in sorted(known, key=lambda row: row[1])}.values())
        assert len(found) == len(wanted) - 1


def test_of_a_file_with_embedded_rows_no_row_group_is_read(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """User 0 came every day, all of which one build made: the row of the day before the last is not embedded."""
    store = written(spark, settings, tmp_path / "tables", 3)
    names, last = list(SEQUENCES.carried), FIRST + timedelta(days=2)
    paths = [str(path) for path in tmp_path.rglob("*.parquet") if f"as_of_date={last}" in str(path)]
    with patch("nextaisle.lookup.pq.ParquetFile", side_effect=AssertionError("opened")):
        found = [rows_in([path], pa.array(user_ids(path)), names, lambda _: None) for path in paths]
        assert sum(len(rows) for batches in found for rows in batches) == 2
    found = store.latest_rows(SEQUENCES, names, users(spark, 0), last).frame()
    (expected,) = (row for row in told(store.read(SEQUENCES)) if row[:2] == ("u000", last - timedelta(days=1)))
    assert told(found) == [tuple(expected[SEQUENCES.names.index(name)] for name in names)]


@pytest.mark.slow
def test_rows_that_somebody_deleted_stay_so(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    store = written(spark, settings, tmp_path, 1)
    table = f"delta.`{store.location(SEQUENCES)}`"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"DELETE FROM {table} WHERE user_id = 'u001'")
    found = store.fresh().latest_rows(SEQUENCES, ["user_id"], users(spark, 1, 2), FIRST + timedelta(days=1))
    assert told(found.frame()) == [("u002",)]


def test_days_files_and_row_groups_without_them_stay_unread(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    store = written(spark, settings, tmp_path / "tables", 3)
    (last,) = {folder for folder in tmp_path.rglob("as_of_date=*") if folder.name.endswith(str(FIRST))}
    size = sum(path.stat().st_size for path in last.glob("*.parquet"))
    store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, 7), FIRST + timedelta(days=3)).frame().collect()
    assert 0 < store.bytes_looked_up < size * 0.7
    path, read = str(tmp_path / "groups.parquet"), []
    table = pa.table({"user_id": [f"u{number}" for number in range(100)], "event_count": range(100)})
    pq.write_table(table, path, row_group_size=10)
    found = pa.Table.from_batches(rows_in([path], pa.array(["u7", "u9", "u55"]), table.column_names, read.append))
    assert found["event_count"].to_pylist() == [7, 9, 55]
    groups = pq.ParquetFile(path).metadata
    sizes = [sum(groups.row_group(n).column(c).total_compressed_size for c in (0, 1)) for n in (0, 5)]
    assert read[1] == sum(sizes)


def test_a_row_that_a_file_lacks_is_an_error_and_no_new_user(tmp_path: Path) -> None:
    """As where an executor sees another copy of the table's folder."""
    paths = [str(tmp_path / name) for name in ("one.parquet", "two.parquet")]
    for number, path in enumerate(paths):
        pq.write_table(pa.table({"user_id": [f"u{number}"]}), path)
    assert [len(rows) for rows in rows_in(paths, pa.array(["u0", "u1"]), ["user_id"], lambda _: None)] == [1, 1]
    with pytest.raises(SchemaError, match="1 of 2 users' latest rows are not in"):
        list(rows_in(paths[:1], pa.array(["u0", "u1"]), ["user_id"], lambda _: None))


def test_files_of_another_writer_with_many_row_groups(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    earlier, small = written(spark, settings, tmp_path, 2), WriterProperties(max_row_group_size=5)
    location, data = earlier.location(SEQUENCES), earlier.read(SEQUENCES).toArrow()
    write_deltalake(location, data, mode="overwrite", writer_properties=small)
    groups = [pq.ParquetFile(path).num_row_groups for path in DeltaTable(location).file_uris()]
    assert max(groups) > 5
    store, wanted = Store(spark, settings.store.model_copy(update={"root": str(tmp_path)})), (7, 9, 119)
    found = store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, *wanted), FIRST + timedelta(days=2)).frame()
    expected = [row for row in told(store.read(SEQUENCES)) if row[0] in {f"u{number:03d}" for number in wanted}]
    assert told(found) == expected
    assert len(expected) == len(wanted)


def test_there_are_none_before_the_first_day_and_in_no_table(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    empty = Store(spark, settings.store.model_copy(update={"root": str(tmp_path / "none")}))
    for store in (empty, written(spark, settings, tmp_path / "some", 1)):
        found = store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, 0), FIRST).frame()
        assert found.columns == SEQUENCES.names
        assert found.collect() == []


def test_a_column_that_came_later_is_null(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    store = written(spark, settings, tmp_path, 1)
    later = replace(SEQUENCES, columns=(*SEQUENCES.columns, Column("note", "array<string>", "", is_nullable=True)))
    (row,) = store.latest_rows(later, later.names, users(spark, 0), FIRST + timedelta(days=1)).frame().collect()
    assert (row["note"], row["event_count"], row["as_of_date"]) == (None, EVENTS, FIRST)
