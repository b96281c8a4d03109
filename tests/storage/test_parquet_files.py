"""What Python writes by itself is what Spark would have written, or nothing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from nextaisle import spark as spark_module
from nextaisle.config import Store as StoreSettings
from nextaisle.contract.errors import ConflictError, SchemaError
from nextaisle.contract.tables import SEQUENCES, Table
from nextaisle.storage import parquet_files
from nextaisle.storage.delta_log import DeltaLog
from nextaisle.storage.embedded import USER_HASH, Embedded, part_of
from nextaisle.storage.folders import Folder
from nextaisle.storage.kernels import ArrowRows, Batches, Part, with_column
from nextaisle.storage.parquet_files import write_files
from nextaisle.storage.store import Store
from nextaisle.storage.stored_table import StoredTable

ALL = "as_of_date IS NOT NULL"
FIRST, SECOND = date(2024, 1, 1), date(2024, 1, 2)


_LISTS = {
    "item_ids": pa.string(), "item_indices": pa.int32(), "event_types": pa.string(),
    "event_times": pa.timestamp("us", "UTC"), "prices": pa.decimal128(18, 4), "is_session_start": pa.bool_(),
}  # fmt: skip
# All may be null here: a kernel's batches say nothing of it.
SCHEMA = pa.schema(
    [("user_id", pa.string()), ("as_of_date", pa.date32()), ("event_count", pa.int64())]
    + [(name, pa.list_(kind)) for name, kind in _LISTS.items()]
)


def row(user: str, day: date, items: str = "abc", count: int | None = None) -> dict[str, Any]:
    moment = datetime(day.year, day.month, day.day, 12, 0, 0, 1, tzinfo=UTC)
    return {
        "user_id": user, "as_of_date": day, "event_count": len(items) if count is None else count,
        "item_ids": [f"{item} 'é\n" for item in items], "item_indices": [ord(item) for item in items],
        "event_types": ["view", None, "cart"][: len(items)], "event_times": [moment] * len(items),
        "prices": [Decimal("-0.0001"), None, Decimal("99999999999999.9999")][: len(items)],
        "is_session_start": [True, False, False][: len(items)],
    }  # fmt: skip


def made(spark: SparkSession, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> ArrowRows:
    """A batch per row, in one task."""
    batches = [pa.RecordBatch.from_pylist([each], schema) for each in rows]

    def kernel(_: Batches) -> Iterator[pa.RecordBatch]:
        yield from batches

    return ArrowRows(SEQUENCES, (Part(spark.range(1).coalesce(1), kernel),))


def contents(store: Store) -> list[tuple[Any, ...]]:
    return sorted((tuple(each) for each in store.fresh().read(SEQUENCES).collect()), key=repr)


def files(store: Store) -> set[str]:
    return {path.name for path in Path(store.location(SEQUENCES)).rglob("*.parquet")}


def active(store: Store) -> set[str]:
    return {Path(file.url).name for file in store.fresh().active_files(SEQUENCES, ALL)}


def test_rows_are_those_that_spark_would_have_written(spark: SparkSession, store: Store) -> None:
    rows = made(spark, [row("u", FIRST), row("v", SECOND, ""), row("u", SECOND, "a"), row("w", FIRST)])
    store.replace(SEQUENCES, rows.plus(rows.frame().withColumn("user_id", F.lit("x"))), ALL)
    expected = [tuple(each) for each in rows.frame().collect()]
    assert contents(store) == sorted([*expected, *(("x", *each[1:]) for each in expected)], key=repr)
    assert store.span(SEQUENCES) == (FIRST, SECOND)
    assert store.bytes_written == sum(path.stat().st_size for path in Path(store.location(SEQUENCES)).rglob("part*"))


def test_where_python_does_not_reach_the_folder_spark_writes(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "local", lambda _: None)
    rows = made(spark, [row("u", FIRST), row("v", SECOND, "")])
    for _ in range(2):
        store.replace(SEQUENCES, rows, ALL)
        assert contents(store) == sorted((tuple(each) for each in rows.frame().collect()), key=repr)
    assert all(re.match(r"part-\d{5}-", name) for name in active(store)), "the names that Spark gives"


@pytest.mark.parametrize("name", ["tables", "a[1] *{b}?"])
def test_the_same_rows_again_commit_nothing_and_leave_no_file(spark: SparkSession, tmp_path: Path, name: str) -> None:
    store = Store(spark, StoreSettings(root=f"{tmp_path}/{name}", python_root="", database=""))
    rows = [row("u", FIRST), row("v", SECOND)]
    store.replace(SEQUENCES, made(spark, rows), ALL)
    version, before = store.current_version(SEQUENCES), files(store)
    store.replace(SEQUENCES, made(spark, rows[::-1]), ALL)
    assert (store.current_version(SEQUENCES), files(store)) == (version, before)


def test_days_that_differ_are_replaced_and_others_keep_their_files(spark: SparkSession, store: Store) -> None:
    store.replace(SEQUENCES, made(spark, [row("u", FIRST), row("v", SECOND)]), ALL)
    before = active(store)
    changed = [row("u", FIRST), row("w", SECOND, "b")]
    store.replace(SEQUENCES, made(spark, changed), ALL)
    assert len(active(store) & before) == 1
    assert files(store) == active(store) | before
    assert contents(store) == sorted((tuple(each) for each in made(spark, changed).frame().collect()), key=repr)
    store.replace(SEQUENCES, made(spark, [row("u", FIRST)]), ALL)
    assert [each[:2] for each in contents(store)] == [("u", FIRST)]


@pytest.mark.parametrize(
    ("rows", "schema", "said"),
    [
        ([row("u", FIRST), row("u", SECOND)], SCHEMA, "2024-01-02"),
        ([row("u", FIRST), row("u", FIRST) | {"user_id": None}], SCHEMA, "user_id is null in 1 of 1 rows"),
        ([row("u", FIRST)], SCHEMA.set(2, pa.field("event_count", pa.int32())), "event_count is int32, expected int64"),
        ([row("u", FIRST)], pa.schema([("user_id", pa.string())]), "lack as_of_date, event_count"),
    ],
)
def test_rows_that_are_not_the_tables_are_refused_and_leave_no_file(
    spark: SparkSession, store: Store, rows: list[dict[str, Any]], schema: pa.Schema, said: str
) -> None:
    with pytest.raises(Exception, match=said):
        store.replace(SEQUENCES, made(spark, rows, schema), f"as_of_date = DATE'{FIRST}'")
    assert files(store) == set()
    assert contents(store) == []


def test_what_was_made_of_old_rows_is_refused_and_leaves_no_file(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer commits while the files are being written; here without the lock, as on an object store."""
    store.replace(SEQUENCES, made(spark, [row("u", FIRST)]), ALL)
    other, mine = store.fresh(), store.fresh()
    mine.read(SEQUENCES)
    original = parquet_files.NewFiles.refuse_others

    def overtaken(found: parquet_files.NewFiles, session: SparkSession, table: Table, where: str) -> None:
        monkeypatch.setattr(parquet_files.NewFiles, "refuse_others", original)
        other.replace(SEQUENCES, made(spark, [row("v", FIRST)]), ALL)
        original(found, session, table, where)

    monkeypatch.setattr(StoredTable, "alone", lambda *_: nullcontext())
    monkeypatch.setattr(parquet_files.NewFiles, "refuse_others", overtaken)
    with pytest.raises(ConflictError):
        mine.replace(SEQUENCES, made(spark, [row("w", FIRST)]), ALL)
    assert [each[0] for each in contents(store)] == ["v"]
    assert len(files(store)) == 2


def written(folder: Path, rows: list[dict[str, Any]], table: Table = SEQUENCES) -> list[parquet_files.NewFile]:
    with writing(folder, table) as writers:
        for each in rows:
            writers.add(pa.RecordBatch.from_pylist([each], SCHEMA))
        return writers.close()


@contextmanager
def writing(folder: Path, table: Table = SEQUENCES) -> Iterator[parquet_files._Writers]:
    there, schema = here(folder), to_arrow_schema(table.schema)
    with there.scratch() as scratch, parquet_files._Writers(table, schema, there, scratch, "zstd") as writers:
        yield writers


def here(folder: Path) -> Folder:
    found = Folder.local(str(folder))
    assert found
    return found


def users_in(folder: Path, file: parquet_files.NewFile) -> list[str]:
    users: list[str] = pq.read_table(folder / file.path, partitioning=None)["user_id"].to_pylist()
    assert (file.row_count, file.size) == (len(users), (folder / file.path).stat().st_size)
    return users


def test_files_that_the_table_may_have_stay_whatever_goes_wrong_after_the_commit(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> int:
        raise OSError("no answer")

    store.replace(SEQUENCES, made(spark, []), ALL)
    monkeypatch.setattr(DeltaLog, "bytes_written", failing)
    with pytest.raises(OSError, match="no answer"):
        store.replace(SEQUENCES, made(spark, [row("u", FIRST)]), ALL)
    assert [each[0] for each in contents(store)] == ["u"]


def test_no_rows_where_there_were_none_are_no_commit(spark: SparkSession, store: Store) -> None:
    for _ in range(2):
        store.replace(SEQUENCES, made(spark, []), ALL)
    assert (store.current_version(SEQUENCES), store.bytes_written) == (0, 0)


def test_a_file_that_cannot_be_removed_harms_nothing(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    store.replace(SEQUENCES, made(spark, [row("u", FIRST)]), ALL)
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "remove", refused)
        store.replace(SEQUENCES, made(spark, [row("u", FIRST)]), ALL)
    assert (store.current_version(SEQUENCES), len(active(store)), len(files(store))) == (1, 1, 2)


def test_a_day_with_more_than_a_task_holds_back_becomes_row_groups(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_HELD_BYTES", 1000)
    rows = [row(f"u{number}", (FIRST, SECOND)[number % 2]) for number in range(40)]
    found = written(tmp_path, rows)
    assert [file.day for file in found] == [FIRST, SECOND]
    for file in found:
        assert pq.ParquetFile(tmp_path / file.path).metadata.num_row_groups > 1
        assert users_in(tmp_path, file) == [each["user_id"] for each in rows if each["as_of_date"] == file.day]


def test_of_days_made_together_each_users_last_row_is_embedded(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_HELD_BYTES", 0)
    monkeypatch.setattr(parquet_files, "_HELD_TO_EMBED", 0)
    rows = [row("a", FIRST), row("a", SECOND), row("b", FIRST), row("c", SECOND)]
    batch = with_column(pa.RecordBatch.from_pylist(rows, SCHEMA), USER_HASH, pa.array([-9, -9, 3, 7]))
    with writing(tmp_path) as writers:
        writers.add(batch.slice(0, 2))
        writers.add(batch.slice(1))
        found = writers.close()
    embedded = {file.day: embedded_users(tmp_path / file.path) for file in found}
    assert embedded == {FIRST: ["b"], SECOND: ["a", "a", "c"]}
    assert {file.day: (file.first_hash, file.last_hash) for file in found} == {FIRST: (-9, 3), SECOND: (-9, 7)}


def embedded_users(path: Path) -> list[str]:
    with pa.memory_map(str(path)) as file:
        batches = list(
            Embedded.of(file, path.name).rows(partial(part_of, file), np.array([-9, 3, 7]), SEQUENCES.carried)
        )
    return [row["user_id"] for batch in batches for row in batch.to_pylist()]


def test_more_days_than_may_be_open_at_once_are_written_in_several_files(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_HELD_BYTES", 0)
    monkeypatch.setattr(parquet_files, "_OPEN_FILES", 2)
    rows = [row(f"u{number}", date(2024, 1, 1 + number % 5)) for number in range(20)]
    found = written(tmp_path, rows)
    assert len(found) == 20
    assert sorted(user for file in found for user in users_in(tmp_path, file)) == sorted(r["user_id"] for r in rows)
    assert len(list(tmp_path.rglob("*.parquet"))) == len(found)


def test_an_error_in_the_middle_leaves_no_file(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_HELD_BYTES", 0)
    monkeypatch.setattr(parquet_files, "_OPEN_FILES", 2)
    rows = [row("u", date(2024, 1, 1 + number)) for number in range(5)]
    assert written(tmp_path, []) == []
    with pytest.raises(SchemaError, match="user_id is null"):
        written(tmp_path, [*rows, row("u", FIRST) | {"user_id": None}])
    assert list(tmp_path.rglob("*.parquet")) == []


def test_what_is_much_has_a_few_tasks_for_each_core_and_what_is_little_one(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spark.range(20_000, numPartitions=4).select(F.format_string("user%05d", "id").alias("user_id"))

    def kernel(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pylist([row(user, FIRST) for user in batch.column("user_id").to_pylist()], SCHEMA)

    def files(**options: int) -> int:
        for name, value in options.items():
            monkeypatch.setattr(spark_module, name, value)
        shuffled = rows.repartition("user_id")
        return len(write_files(ArrowRows(SEQUENCES, (Part(shuffled, kernel),)), here(tmp_path), "zstd").kept)

    partitions, cores = spark.conf.get("spark.sql.shuffle.partitions"), spark.sparkContext.defaultParallelism
    spark.conf.set("spark.sql.shuffle.partitions", "60")
    try:
        assert files() == 1
        assert cores * 4 <= files(_LEAST_BYTES=1) <= cores * 4 + 2
        assert files(_MOST_BYTES=1) == 60
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", partitions)
    assert spark.conf.get("spark.sql.adaptive.coalescePartitions.minPartitionNum", None) is None
