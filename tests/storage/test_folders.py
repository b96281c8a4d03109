"""Tasks of Python reach a table's folder on this machine or elsewhere, and it is Spark's."""

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs
from pyspark.sql import SparkSession

from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, ConflictError, SchemaError
from nextaisle.contract.tables import SEQUENCES, Table
from nextaisle.storage.folders import Folder
from nextaisle.storage.kernels import ArrowRows, Part
from nextaisle.storage.parquet_files import NewFile, NewFiles
from nextaisle.storage.store import Store

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
    assert Folder(name, fs.LocalFileSystem(), "/t", is_here=name.startswith("file:")).path_of(url) == path


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
    with pytest.raises(ConfigurationError, match=r"store\.python_root has a #"):
        Folder.within(f"{tmp_path}/a#b", "hdfs://names/tables/sequences")
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


def test_another_folder_is_refused_be_it_that_of_another_shop_or_a_copy(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """A shop has the same version of the same table; of the copy nobody can tell before tasks have written there."""
    root, other, copy, nothing = (tmp_path / name for name in ("tables", "other", "copy", "nothing"))
    for shop in (root, other):
        Store(spark, settings.store.model_copy(update={"root": str(shop)})).replace(SEQUENCES, rows(spark), ALL)
    shutil.copytree(root / "sequences" / "_delta_log", copy / "sequences" / "_delta_log")
    no_rows = ArrowRows(SEQUENCES, (Part(rows(spark).frame().limit(0)),))
    for place, told in (
        (nothing, "does not hold version 1 of table sequences, which Spark has in file:"),
        (other, "does not hold version 1 of table sequences, which Spark has in file:"),
        (copy, "where a task has written .* Nothing was committed"),
    ):
        store = Store(spark, settings.store.model_copy(update={"root": str(root), "python_root": str(place)}))
        with pytest.raises(ConfigurationError, match=told):
            store.replace(SEQUENCES, no_rows.plus(rows(spark).frame().where("user_id <> 'u1'")), ALL)
    assert list(copy.rglob("*.parquet")) == []
    assert store.current_version(SEQUENCES) == 1


@pytest.mark.parametrize("is_here", [True, False])
def test_elsewhere_files_stay_though_another_writer_was_faster(tmp_path: Path, is_here: bool) -> None:
    """It may have been this one, whom a store did not answer."""
    folder, file = Folder.local(str(tmp_path)) if is_here else elsewhere(tmp_path), tmp_path / "x.parquet"
    assert folder
    file.touch()
    files = NewFiles(folder, [NewFile(file.name, DAY, 0, 0, None, None)])
    with pytest.raises(ConflictError), files, files.committing():
        raise ConflictError("faster")
    assert file.exists() is not is_here


def test_a_file_for_elsewhere_waits_on_a_disk_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, table = tmp_path / "scratch", tmp_path / "table"
    for folder in (scratch, table):
        folder.mkdir()
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(scratch))
    with elsewhere(table).scratch() as files:
        with files.create("day=1/x") as sink:
            sink.write(b"x" * 9_000_000)
        assert not (table / "day=1/x").exists()
        assert files.put("day=1/x") == 9_000_000
        files.create("day=1/y").close()
    assert (table / "day=1/x").read_bytes() == b"x" * 9_000_000
    with elsewhere(table).open("day=1/x") as file:
        assert (file.size(), file.read_buffer(2)) == (9_000_000, pa.py_buffer(b"xx"))
    for _ in range(2):
        elsewhere(table).remove("day=1/x")
    assert [path for path in (*scratch.rglob("*"), *table.rglob("*")) if path.is_file()] == []
    with Folder("file:/t", fs.LocalFileSystem(), str(table), is_here=True).scratch() as files:
        files.create("day=2/z").close()
        assert (table / "day=2/z").exists()
        assert files.put("day=2/z") == 0
