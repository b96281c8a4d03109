"""Multi-line JSON, and files packed in any way: records as received, and nothing lost in silence."""

import bz2
import gzip
import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.events.texts import split_values
from tests.events.shops import JSON_LINES, Shop, record

ONE, TWO = b'{"a": "]}\\"",\n "b": [{}]}', b'{"a": 2}'


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"", []),
        (b" [ ] \n", []),
        (ONE + b"\n" + TWO + b"\n", [ONE, TWO]),
        (b"\xef\xbb\xbf[\n" + ONE + b",\n" + TWO + b"\n]\n", [ONE, TWO]),
        (b"[" + ONE + b"]\n[" + TWO + b"]", [ONE, TWO]),
        (b'[{"a": oops}, ' + TWO + b"]", [b'{"a": oops}', TWO]),
        (b"oops " + ONE + b" ]", [b"oops", ONE, b"]"]),
        (b"[1, [2], " + TWO + b", 3]", [b"1", b"[2]", TWO, b"3"]),
        (b"[" + ONE + b",", [ONE, b"["]),
        (b"[" + ONE + b', {"a": "', [ONE, b'{"a": "']),
        (b'{"a": "\xff"} ' + TWO, [b'{"a": "\xff"}', TWO]),
        # Broken values, of which each costs itself alone.
        (b'[\n{"a": "x""},\n' + TWO + b"\n]", [b'{"a": "x""}', TWO]),
        (b'[\n{"a": "x]"{"},\n' + TWO + b",\n" + TWO + b"\n]", [b'{"a": "x]"{"}', TWO, TWO]),
        (b'{"a": {"b": 1}\n' + TWO + b'\n{"a": [1}\n' + TWO, [b'{"a": {"b": 1}', TWO, b'{"a": [1}', TWO]),
        (b'[\n  {\n  "a": [\n    {\n  },\n  {"a": 2}\n]', [b'{\n  "a": [\n    {\n  }', TWO]),
        (b'[{"a": 1, ' + TWO + b"]", [b'{"a": 1, ' + TWO + b"]"]),
    ],
)
def test_a_file_is_split_into_its_values_and_what_is_none(text: bytes, values: list[bytes]) -> None:
    assert list(split_values(text)) == values


def write(root: Path, name: str, content: bytes) -> None:
    path = root / "logs" / "2024-01-01" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


@pytest.mark.slow
def test_multi_line_json_is_read_whole_packed_or_not_and_what_is_broken_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    a, b, c, d, e = (json.dumps(json.loads(record("u", "01 10:00:00", item)), indent=2).encode() for item in "abcde")
    write(tmp_path, "objects.json", a + b"\n" + b + b"\n")
    write(tmp_path, "array.json.gz", gzip.compress(b"[" + c + b",\n" + d.replace(b'"d"', b"oops") + b"]"))
    write(tmp_path, "cut short.json.zst", zstd(b"[" + e + b',\n{"user": '))
    shop = Shop(spark, tmp_path, JSON_LINES | {"source.options.multiLine": '"true"'})
    assert shop.clean(1).rows == {
        "files": 3, "records": 6, "accepted": 4, "rejected": 2, "duplicates": 0, "rejected_unreadable": 2
    }  # fmt: skip
    assert [row[0] for row in shop.rows(EVENTS, "item_id")] == ["a", "b", "c", "e"]
    refused = [bytes(row[0]) for row in shop.rows(REJECTED_EVENTS, "record")]
    assert refused == sorted([d.replace(b'"d"', b"oops"), b'{"user":'], key=repr)
    assert [row[0] for row in shop.rows(SOURCE_FILES, "record_count")] == [2, 2, 2]


def test_a_quote_that_never_ends_makes_one_record_of_the_rest_which_weighs_as_much(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [f"u{n},a,view,2024-01-01 10:00:00" for n in range(99)]
    lines[30] = 'ux,"a,view,2024-01-01 10:00:00'
    write(tmp_path, "1.csv", "\n".join(["user,item,kind,time", *lines]).encode())
    rules = JSON_LINES | {"source.schema": "", "source.format": "csv"}
    shop = Shop(spark, tmp_path, rules | {"source.options": '{header="true", multiLine="true"}'})
    stopped = shop.run(clean_events.JOB, 1, events__max_rejected_share=0.3)
    assert (stopped.exit_code, "1 of 31 records" in stopped.reason) == (4, True), stopped.reason


TIMES = {
    "iso": ("time string", "2024-01-01T10:00:00.5+02:00", "time"),
    "seconds": ("time double", 1704096000.5, "timestamp_seconds(time)"),
    "milliseconds": ("time bigint", 1704096000500, "timestamp_millis(time)"),
    "microseconds": ("time bigint", 1704096000500000, "timestamp_micros(time)"),
}
PACKED = {"1.json": bytes, "2.json.gz": gzip.compress, "3.json.bz2": bz2.compress, "4.json.zst": zstd, "5.ZSTD": zstd}


@pytest.mark.slow
def test_hours_in_folders_of_a_day_packed_in_any_way_are_all_read(spark: SparkSession, tmp_path: Path) -> None:
    for hour, (name, pack) in enumerate(PACKED.items()):
        lines = [record("u", f"01 {hour:02}:00:00", name), "\udcff{", record("u", f"01 {hour:02}:59:59", name)]
        # Either end of a line, and none at the end of the file.
        write(tmp_path, f"{hour:02}/{name}", pack("\r\n".join(lines).encode("utf-8", "surrogateescape")))
    shop = Shop(spark, tmp_path, JSON_LINES | {"source.path": f"{tmp_path}/logs/{{date}}/*/"})
    counted = shop.clean(1).rows
    assert (counted["files"], counted["accepted"], counted["rejected_unreadable"]) == (5, 10, 5)
    assert [row[0] for row in shop.rows(EVENTS, "item_id")] == sorted([*PACKED, *PACKED])
    assert [bytes(row[0]) for row in shop.rows(REJECTED_EVENTS, "record")] == [b"\xff{"] * 5


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMES)
def test_a_time_is_understood_as_text_or_as_a_number_of_its_unit(
    name: str, spark: SparkSession, tmp_path: Path
) -> None:
    kind, time, expression = TIMES[name]
    write(tmp_path, "1.json", json.dumps({"user": "u", "item": "a", "kind": "view", "time": time}).encode())
    schema = JSON_LINES["source.schema"].replace("time string", kind)
    shop = Shop(spark, tmp_path, JSON_LINES | {"source.schema": schema, "source.columns.event_time": expression})
    shop.clean(1)
    assert shop.rows(EVENTS, "event_time") == [(datetime(2024, 1, 1, 8, 0, 0, 500000),)]


def test_zstd_that_is_cut_short_or_packs_a_table_is_named(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, "whole.json.zst", zstd(record("u", "01 10:00:00").encode()))
    write(tmp_path, "part.json.zst", zstd("\n".join(record(str(n), "01 10:00:00") for n in range(999)).encode())[:-9])
    shop = Shop(spark, tmp_path, JSON_LINES)
    cut = shop.run(clean_events.JOB, 1)
    assert (cut.exit_code, "part.json.zst cannot be read to its end" in cut.reason) == (3, True)
    table = shop.run(clean_events.JOB, 1, source__format="csv")
    assert (table.exit_code, "part.json.zst is packed by zstd" in table.reason) == (3, True)
    assert shop.rows(EVENTS) == []
