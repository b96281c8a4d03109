"""Tasks of Python reach a table's folder on this machine or elsewhere, and it is Spark's."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs
from pyspark.sql import SparkSession

from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, SchemaError
from nextaisle.contract.tables import SEQUENCES, Table
from nextaisle.folders import Folder
from nextaisle.kernels import ArrowRows, Part
from nextaisle.store import Store

ALL, DAY = "as_of_date IS NOT NULL", date(2024, 1, 1)


def rows(spark: SparkSession, table: Table = SEQUENCES) -> ArrowRows:
    lists = [f"cast(array() as {each.type}) {each.name}" for each in table.columns if "array" in each.type]
    made = spark.range(3).selectExpr("concat('u', id) user_id", f"DATE'{DAY}' as_of_date", "0L event_count", *lists)
    return ArrowRows(table, (Part(made.coalesce(1).select(table.names)),))


def elsewhere(folder: Path, name: str = "s3a://shop/tables/sequences") -> Folder:
    """What is no folder of this machine, as far as anybody can tell."""
    return Folder(name, fs.SubTreeFileSystem(str(folder.parent), fs.LocalFileSystem()), folder.name)


@pytest.mark.parametrize(
    ("name", "url", "path"),
    [
        ("file:/t/a b", "day=1/x%20y.parquet", "day=1/x y.parquet"),
        ("file:/t/a b", "file:/t/a%20b/day=1/x.parquet", "day=1/x.parquet"),
        ("file:/t/a b", "file:///of/the/cloned/x.parquet", "/of/the/cloned/x.parquet"),
        ("s3a://b/t", "day=1/x.parquet", "day=1/x.parquet"),
        ("s3a://b/t", "s3a://b/t/day=1/x.parquet", "day=1/x.parquet"),
    ],
)
def test_a_file_is_found_by_what_deltas_log_calls_it(name: str, url: str, path: str) -> None:
    assert Folder(name, fs.LocalFileSystem(), "/t").path_of(url) == path


@pytest.mark.parametrize(
    ("name", "url"), [("file:/t", "s3a://b/t/x"), ("s3a://b/t", "file:/t/x"), ("a://b", "a://c/x")]
)
def test_a_file_on_another_file_system_is_an_error(name: str, url: str) -> None:
    with pytest.raises(SchemaError, match=f"{url} belongs to the table in {name}, but lies elsewhere"):
        Folder(name, fs.LocalFileSystem(), "/t").path_of(url)


def test_a_place_is_a_path_or_what_pyarrow_opens(tmp_path: Path) -> None:
    for place in (f"{tmp_path}", f"file://{tmp_path}/"):
        found = Folder.within(place, "hdfs://names/tables/sequences")
        assert (found.name, found.root) == ("hdfs://names/tables/sequences", f"{tmp_path}/sequences")
    there = Folder.within("s3a://bucket/tables?region=eu-west-1", "s3a://bucket/tables/sequences")
    assert (there.files.type_name, there.root) == ("s3", "bucket/tables/sequences")
    with pytest.raises(ConfigurationError, match=r"store\.python_root = 'abfss://shop/tables' cannot be opened"):
        Folder.within("abfss://shop/tables", "abfss://shop/tables/sequences")
    assert Folder.local("s3a://bucket/tables/sequences") is None


def test_python_writes_and_reads_the_folder_under_its_own_name(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mounted, root = tmp_path / "mounted", tmp_path / "tables"
    mounted.symlink_to(root)
    store = Store(spark, settings.store.model_copy(update={"root": str(root), "python_root": f"file://{mounted}"}))
    store.replace(SEQUENCES, rows(spark), ALL)
    assert len(list(root.rglob("as_of_date=*/part-*.parquet"))) == 1
    assert sorted(row["user_id"] for row in store.fresh().read(SEQUENCES).collect()) == ["u0", "u1", "u2"]
    other = store.fresh()
    mounted.unlink()
    mounted.mkdir()
    with pytest.raises(
        ConfigurationError, match="does not hold version 1 of table sequences, which Spark has in file:"
    ):
        other.replace(SEQUENCES, rows(spark), ALL)


def test_a_file_for_elsewhere_waits_on_a_disk_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, table = tmp_path / "scratch", tmp_path / "table"
    for folder in (scratch, table):
        folder.mkdir()
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(scratch))
    with elsewhere(table).staging() as staging:
        with staging.create("day=1/x") as sink:
            sink.write(b"x" * 9_000_000)
        assert not (table / "day=1/x").exists()
        assert staging.put("day=1/x") == 9_000_000
        staging.create("day=1/y").close()
    assert (table / "day=1/x").read_bytes() == b"x" * 9_000_000
    with elsewhere(table).open("day=1/x") as file:
        assert (file.size(), file.read_buffer(2)) == (9_000_000, pa.py_buffer(b"xx"))
    for _ in range(2):
        elsewhere(table).remove("day=1/x")
    assert [path for path in (*scratch.rglob("*"), *table.rglob("*")) if path.is_file()] == []
    with Folder("file:/t", fs.LocalFileSystem(), str(table)).staging() as staging:
        staging.create("day=2/z").close()
        assert (table / "day=2/z").exists()
        assert staging.put("day=2/z") == 0
