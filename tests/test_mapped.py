"""What a shop knows beside its logs, where it cannot be read."""

import gzip
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Columns
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.mapped import fingerprint, read_mapped

TYPES = {"item_id": "string", "title": "string"}


def read(spark: SparkSession, path: Path, kind: str) -> DataFrame:
    source = Columns(path=str(path), format=kind, columns={"item_id": "_c0", "title": "_c1"}, options={}, schema="")
    return read_mapped(spark, source, "items", TYPES, ("item_id",), "UTC")


def test_a_file_that_cannot_be_read_is_named_whether_at_once_or_when_its_rows_are_asked_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    table, packed = tmp_path / "items.parquet", tmp_path / "items.csv.gz"
    table.write_bytes(b"PAR1garbage")
    packed.write_bytes(gzip.compress("".join(f"{n},{n * n}\n" for n in range(9_999)).encode())[:-9])
    for path, kind in ((table, "parquet"), (packed, "csv")):
        with pytest.raises(InputError, match=f"{path.name} cannot be read to its end"):
            fingerprint(read(spark, path, kind))


def test_a_format_that_nothing_reads_is_a_wrong_configuration(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="format is 'cvs'"):
        read(spark, tmp_path, "cvs")


def test_a_text_that_is_no_utf_8_is_unknown(spark: SparkSession, tmp_path: Path) -> None:
    spark.createDataFrame([(b"a", b"\xff"), (b"\xff", b"b")], "_c0 binary, _c1 binary").write.parquet(f"{tmp_path}/i")
    assert [tuple(row) for row in read(spark, tmp_path / "i", "parquet").collect()] == [("a", None)]
