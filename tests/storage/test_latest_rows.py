"""Latest rows of users are found in a table's files without reading all of them."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Settings
from nextaisle.contract.errors import SchemaError
from nextaisle.contract.tables import SEQUENCES, Column
from nextaisle.storage import latest_rows
from nextaisle.storage.embedded import USER_HASH, Embedded, EmbeddedRows
from nextaisle.storage.folders import Folder
from nextaisle.storage.kernels import ArrowRows, Part
from nextaisle.storage.latest_rows import FileReader, LatestRows, seeds_first
from nextaisle.storage.store import Store
from nextaisle.storage.user_ranges import task_of_user, with_user_hash

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
    made = with_user_hash(rows(spark, days)).repartition(2, task_of_user(spark))
    made = made.sortWithinPartitions(USER_HASH, "user_id", "as_of_date")
    by_spark = made.drop(USER_HASH)
    store.replace(SEQUENCES, ArrowRows(SEQUENCES, (Part(made),)) if by_python else by_spark, "as_of_date IS NOT NULL")
    return store.fresh()


def told(frame: DataFrame) -> list[Any]:
    return sorted(tuple(row) for row in frame.collect())


def users(spark: SparkSession, *numbers: int) -> DataFrame:
    return spark.createDataFrame([(f"u{number:03d}",) for number in numbers], "user_id string")


def in_order(users: DataFrame) -> pa.Table:
    return with_user_hash(users).orderBy(USER_HASH, "user_id").toArrow()


def found(latest: LatestRows, users: DataFrame) -> list[Any]:
    """The rows, whoever finds them."""
    if latest.files is None:
        return told(latest.rows)
    assert latest.rows.isEmpty()
    return told(users.sparkSession.createDataFrame(latest.files.latest_rows(in_order(users)), latest.rows.schema))


@pytest.mark.parametrize(
    ("by_python", "is_reached"),
    [(True, True), pytest.param(False, True, marks=pytest.mark.slow), (True, False)],
)
def test_they_are_the_rows_that_spark_finds(
    spark: SparkSession,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_python: bool,
    is_reached: bool,
) -> None:
    """Of user 0 there is one on each day, of most others one on the first day alone, and of one nothing."""
    store = written(spark, settings, tmp_path / "a[1] 50%{b}?#", 12, by_python)
    if not is_reached:
        monkeypatch.setattr(Folder, "local", lambda _: None)
    wanted = [0, 1, 3, 4, 10, 11, 50, 119, 500]
    for day in (1, 7, 12):
        before = FIRST + timedelta(days=day)
        latest = store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, *wanted), before)
        known = [row for row in told(store.read(SEQUENCES)) if row[1] < before and int(row[0][1:]) in wanted]
        expected = sorted({row[0]: row for row in sorted(known, key=lambda row: row[1])}.values())
        assert (latest.files is not None) == (by_python and is_reached)
        assert found(latest, users(spark, *wanted)) == expected
        assert len(expected) == len(wanted) - 1


def test_of_a_file_with_embedded_rows_no_row_group_is_read(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """User 0 came every day, all of which one build made: the row of the day before the last is not embedded."""
    store = written(spark, settings, tmp_path, 3)
    names, last = list(SEQUENCES.carried), FIRST + timedelta(days=2)
    expected = {row[1]: row for row in told(store.read(SEQUENCES)) if row[0] == "u000"}
    for day in (last, last - timedelta(days=1)):
        latest = store.latest_rows(SEQUENCES, names, users(spark, 0), day + timedelta(days=1))
        with patch("nextaisle.storage.latest_rows.pq.ParquetFile", side_effect=pq.ParquetFile) as opened:
            assert found(latest, users(spark, 0)) == [tuple(expected[day][SEQUENCES.names.index(n)] for n in names)]
        assert opened.call_count == (day != last)


@pytest.mark.slow
def test_rows_that_somebody_deleted_stay_so(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    store = written(spark, settings, tmp_path, 1)
    table = f"delta.`{store.location(SEQUENCES)}`"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"DELETE FROM {table} WHERE user_id = 'u001'")
    latest = store.fresh().latest_rows(SEQUENCES, ["user_id"], users(spark, 1, 2), FIRST + timedelta(days=1))
    assert found(latest, users(spark, 1, 2)) == [("u002",)]


def test_days_files_and_row_groups_without_them_stay_unread(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    store = written(spark, settings, tmp_path, 3)
    (first,) = {folder for folder in tmp_path.rglob("as_of_date=*") if folder.name.endswith(str(FIRST))}
    assert len(list(first.glob("*.parquet"))) == 2  # a file for each of two ranges
    latest = store.latest_rows(SEQUENCES, SEQUENCES.carried, users(spark, 7), FIRST + timedelta(days=3))
    with patch.object(Embedded, "of", side_effect=Embedded.of) as opened:
        assert len(found(latest, users(spark, 7))) == 1
    assert 1 <= opened.call_count <= 3  # one a day at most
    row_bytes = 40 * EVENTS
    assert 0 < store.bytes_looked_up < 3 * 8 * USERS + row_bytes


@pytest.mark.parametrize(("remembered", "times"), [(latest_rows._REMEMBERED_BYTES, 1), (0, 2)])
def test_a_task_asks_a_file_once_whom_it_has(
    spark: SparkSession,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    remembered: int,
    times: int,
) -> None:
    """Users come in two blocks, somebody new in both."""
    monkeypatch.setattr(latest_rows, "_REMEMBERED_BYTES", remembered)
    store = written(spark, settings, tmp_path, 4)
    wanted = in_order(users(spark, *range(USERS + 20)))
    blocks = wanted.slice(0, 70), wanted.slice(70)
    assert all(max(block["user_id"].to_pylist()) >= f"u{USERS}" for block in blocks)
    files = store.latest_rows(SEQUENCES, ["user_id", "as_of_date"], users(spark, 0), FIRST + timedelta(days=4)).files
    assert files
    with patch.object(Embedded, "of", side_effect=Embedded.of) as opened:
        rows = pa.concat_tables([files.latest_rows(block) for block in blocks]).to_pylist()
    asked = Counter(call.args[1] for call in opened.call_args_list)
    assert set(asked) == {str(path.relative_to(store.location(SEQUENCES))) for path in tmp_path.rglob("*=*/*.parquet")}
    assert max(asked.values()) == times
    expected = {(row["user_id"], row["as_of_date"]) for row in latest_of_all(store)}
    assert sorted((row["user_id"], row["as_of_date"]) for row in rows) == sorted(expected)


def latest_of_all(store: Store) -> list[Any]:
    return store.read(SEQUENCES).groupBy("user_id").agg(F.max("as_of_date").alias("as_of_date")).collect()


def test_a_row_is_read_by_its_place_where_row_groups_are_many(tmp_path: Path) -> None:
    path, read = str(tmp_path / "groups.parquet"), list[int]()
    table = pa.table({"user_id": [f"u{number}" for number in range(100)], "event_count": range(100)})
    embedding(path, table, np.arange(100), row_group_size=10)
    wanted = pa.array(["u7", "u9", "u55", "nobody"])
    reader = FileReader(here(tmp_path), read.append)
    batches = reader.rows("groups.parquet", wanted, np.array([7, 9, 55, 177]), table.column_names)
    assert pa.Table.from_batches(batches)["event_count"].to_pylist() == [7, 9, 55]
    groups = pq.ParquetFile(path).metadata
    sizes = [sum(groups.row_group(n).column(c).total_compressed_size for c in (0, 1)) for n in (0, 5)]
    assert read == [100 * 8, groups.serialized_size + sum(sizes)]


def here(folder: Path) -> Folder:
    found = Folder.local(str(folder))
    assert found
    return found


def embedding(path: str, rows: pa.Table, hashes: np.ndarray[Any, Any], row_group_size: int, held: int = 0) -> None:
    """A file that has embedded the first rows."""
    with pa.OSFile(path, "wb") as sink, pq.ParquetWriter(sink, rows.schema) as writer:
        embedded = EmbeddedRows(sink)
        writer.write_table(rows, row_group_size=row_group_size)
        embedded.name_users(hashes)
        embedded.hold(rows.append_column(USER_HASH, pa.array(hashes)).slice(0, held))
        embedded.close()


def test_of_a_file_elsewhere_a_part_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, table, read = tmp_path / "disk", tmp_path / "table", list[int]()
    for folder in (disk, table):
        folder.mkdir()
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(disk))
    embedding(str(table / "a.parquet"), pa.table({"user_id": ["a", "b", "c"]}), np.array([1, 2, 3]), 9, held=3)
    reader = FileReader(replace(here(table), is_here=False), read.append)
    for user, hash_of_user in (("a", 1), ("c", 3)):
        batches = reader.rows("a.parquet", pa.array([user]), np.array([hash_of_user]), ["user_id"])
        assert [row["user_id"] for batch in batches for row in batch.to_pylist()] == [user]
        (table / "a.parquet").unlink(missing_ok=True)
    assert len(read) == 2
    assert read[0] == 3 * 8 < read[1]
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_two_users_with_one_hash_have_rows_of_their_own(tmp_path: Path, held: int) -> None:
    path = str(tmp_path / "a.parquet")
    embedding(path, pa.table({"user_id": ["a", "b", "c"], "event_count": [1, 2, 3]}), np.array([5, 5, 6]), 9, held)
    for wanted, hashes in ((["b"], [5]), (["a", "b"], [5, 5]), (["a", "x", "c"], [5, 5, 6]), (["x"], [5])):
        reader = FileReader(here(tmp_path), lambda _: None)
        batches = reader.rows("a.parquet", pa.array(wanted), np.array(hashes), ["user_id"])
        assert sorted(row["user_id"] for batch in batches for row in batch.to_pylist()) == sorted({*wanted} - {"x"})


def test_a_file_that_is_gone_or_another_is_an_error_and_no_new_user(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """As where an executor sees another copy of the table's folder."""
    store = written(spark, settings, tmp_path, 1)
    latest = store.latest_rows(SEQUENCES, ["user_id"], users(spark, *range(USERS)), FIRST + timedelta(days=1))
    path = next(tmp_path.rglob("as_of_date=*/*.parquet"))
    pq.write_table(pq.read_table(path, partitioning=None), path)
    with pytest.raises(SchemaError, match="has no embedded rows"):
        found(latest, users(spark, *range(USERS)))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        found(latest, users(spark, *range(USERS)))


def test_files_of_another_program_are_read_by_spark(
    spark: SparkSession, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    earlier, wanted = written(spark, settings, tmp_path, 2), (7, 9, 119)
    last = earlier.read(SEQUENCES).where(f"as_of_date = DATE'{FIRST + timedelta(days=1)}'").toArrow()
    write_deltalake(earlier.location(SEQUENCES), last, mode="overwrite", predicate="as_of_date = '2024-01-02'")
    store = earlier.fresh()
    latest = store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, *wanted), FIRST + timedelta(days=2))
    assert latest.files is None
    assert "table sequences has files of another program" in caplog.text
    expected = [row for row in told(store.read(SEQUENCES)) if row[0] in {f"u{number:03d}" for number in wanted}]
    assert found(latest, users(spark, *wanted)) == expected
    assert len(expected) == len(wanted)
    healed = written(spark, settings, tmp_path, 2)
    assert healed.latest_rows(SEQUENCES, ["user_id"], users(spark, 7), FIRST + timedelta(days=2)).files is not None
    assert healed.changed_days(SEQUENCES, store.versions_read[SEQUENCES.name]) == {FIRST + timedelta(days=1)}
    assert told(healed.read(SEQUENCES)) == told(store.read(SEQUENCES))


def test_there_are_none_before_the_first_day_and_in_no_table(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    empty = Store(spark, settings.store.model_copy(update={"root": str(tmp_path / "none")}))
    for store in (empty, written(spark, settings, tmp_path / "some", 1)):
        latest = store.latest_rows(SEQUENCES, SEQUENCES.names, users(spark, 0), FIRST)
        assert latest.rows.columns == SEQUENCES.names
        assert (latest.files, latest.rows.collect()) == (None, [])


def test_a_column_that_came_later_is_null(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    store = written(spark, settings, tmp_path, 1)
    later = replace(SEQUENCES, columns=(*SEQUENCES.columns, Column("note", "array<string>", "", is_nullable=True)))
    latest = store.latest_rows(later, ["user_id", "as_of_date", "note"], users(spark, 0), FIRST + timedelta(days=1))
    assert found(latest, users(spark, 0)) == [("u000", FIRST, None)]


def test_a_seed_comes_before_its_users_other_rows() -> None:
    names = pa.schema([("user_id", pa.string()), ("n", pa.int64()), ("kind", pa.string())])
    rows = pa.Table.from_pylist([{"user_id": user, "n": n, "kind": "row"} for n, user in enumerate("bbac")], names)
    seeds = pa.table({"n": [8, 9], "user_id": ["c", "b"]})
    both = seeds_first(rows, seeds).to_pylist()
    assert [(row["user_id"], row["n"], row["kind"]) for row in both] == [
        ("b", 9, None), ("b", 0, "row"), ("b", 1, "row"), ("a", 2, "row"), ("c", 8, None), ("c", 3, "row"),
    ]  # fmt: skip
    assert seeds_first(rows, seeds.slice(0, 0)).equals(rows)
