"""Rows that a Parquet file holds a second time come back as they were, and no reader of Parquet sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextaisle.arrays import hashed
from nextaisle.decimals import MONEY
from nextaisle.embedded import EmbeddedRows, embedded_rows, embedded_users

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        ("event_count", pa.int64()),
        ("item_ids", pa.list_(pa.string())),
        ("event_times", pa.list_(pa.timestamp("us", tz="UTC"))),
        ("prices", pa.list_(MONEY)),
        ("is_session_start", pa.list_(pa.bool_())),
        ("last_time", pa.timestamp("us", tz="UTC")),
        ("totals", pa.map_(pa.string(), MONEY)),
        ("last_day", pa.date32()),
        ("tops", pa.list_(pa.struct([("name", pa.string()), ("day", pa.date32()), ("count", pa.int64())]))),
    ]
)
BITS = 63
HASHES = [3262765634605483607, 1760245841805064774, 14987232596441094395]
WHOLE = st.integers(-(2**BITS), 2**BITS - 1)
MONEYS = st.integers(-(10**18) + 1, 10**18 - 1).map(lambda number: Decimal(number).scaleb(-4))
INSTANTS = st.one_of(WHOLE, st.integers(0, 3000).map(lambda second: second * 1_000_000))


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any] | None]:
    return st.none() | st.lists(st.none() | of, max_size=4)


ROW = st.tuples(
    st.integers(0, 99),
    lists(st.sampled_from(["a", "b", "", "ß\x00"])),
    lists(INSTANTS),
    lists(MONEYS | st.integers(0, 99).map(Decimal)),
    lists(st.booleans()),
    st.none() | INSTANTS,
    st.none() | st.dictionaries(st.sampled_from(["view", "cart"]), st.none() | MONEYS),
    st.none() | st.dates(),
    lists(st.tuples(st.none() | st.sampled_from(["a/b", "b"]), st.none() | st.dates(), st.none() | WHOLE)),
)


def table_of(rows: list[Any], first: int) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * 9
    users = pa.array([f"u{first + number}" for number in range(len(rows))], pa.string())
    arrays = [users, *(_array(list(each), kind) for each, kind in zip(columns, SCHEMA.types[1:], strict=True))]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        return pa.array(values, pa.list_(pa.int64())).cast(kind)
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


@contextmanager
def written(path: Path) -> Iterator[tuple[pq.ParquetWriter, EmbeddedRows]]:
    with pa.OSFile(str(path), "wb") as sink, pq.ParquetWriter(sink, SCHEMA) as writer:
        embedded = EmbeddedRows(sink)
        yield writer, embedded
        embedded.close()


def found(path: Path, users: list[str], names: list[str]) -> tuple[pa.Table, int]:
    """The rows, and how many bytes were said to be read."""
    read: list[int] = []
    batches = list(embedded_rows(str(path), pa.array(users, pa.string()), names, read.append))
    schema = pa.schema([SCHEMA.field(name) for name in names])
    rows = pa.Table.from_batches(batches).cast(schema) if batches else schema.empty_table()
    return rows, sum(read)


@given(st.lists(st.lists(ROW, max_size=5), max_size=3), st.sets(st.integers(0, 14)))
def test_any_row_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[Any]], wanted: set[int]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "file.parquet"
    rows = [table_of(piece, 5 * number) for number, piece in enumerate(pieces)]
    with written(path) as (writer, embedded):
        for piece in rows:
            writer.write_table(piece)
            embedded.name_users(piece["user_id"].combine_chunks())
            embedded.hold(piece)
            embedded.write()
    whole = pa.concat_tables(rows) if rows else SCHEMA.empty_table()
    users = embedded_users(str(path))
    assert users is None if not rows else np.array_equal(users, hashed(whole["user_id"].combine_chunks()))
    assert pq.read_table(path).equals(whole)
    expected = whole.filter(pa.array([int(user[1:]) in wanted for user in whole["user_id"].to_pylist()], pa.bool_()))
    assert found(path, [f"u{number}" for number in wanted], SCHEMA.names)[0].equals(expected)


def test_numbers_that_need_all_their_bytes_come_back(tmp_path: Path) -> None:
    counts = [1, (1 << 31) + 5, (1 << 40) + 7]
    rows = pa.concat_tables([table_of([(count, *[None] * 8)], count) for count in counts])
    with written(tmp_path / "a.parquet") as (writer, embedded):
        writer.write_table(rows)
        embedded.name_users(rows["user_id"].combine_chunks())
        embedded.hold(rows)
    users = rows["user_id"].to_pylist()
    assert found(tmp_path / "a.parquet", users, SCHEMA.names)[0]["event_count"].to_pylist() == counts


def test_users_have_the_hashes_by_which_files_name_them() -> None:
    """Other ones would find nobody in the files that are there."""
    assert hashed(pa.array(["u0", "", "ß"])).tolist() == HASHES


def test_no_reader_of_parquet_sees_them(tmp_path: Path) -> None:
    rows = table_of([(1, ["a"], [5_000_000], [Decimal(2)], [True], 7, {"view": Decimal(1)}, None, None)] * 3, 0)
    with written(tmp_path / "a.parquet") as (writer, embedded):
        writer.write_table(rows.slice(0, 2))
        embedded.hold(rows)
        embedded.write()
        writer.write_table(rows.slice(2))
        embedded.name_users(rows["user_id"].combine_chunks())
    assert pl.read_parquet(tmp_path / "a.parquet")["user_id"].to_list() == ["u0", "u1", "u2"]
    assert duckdb.sql(f"SELECT count(*), max(item_ids) FROM '{tmp_path}/a.parquet'").fetchall() == [(3, ["a"])]
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 2


def test_a_file_without_them_or_without_a_column_has_none(tmp_path: Path) -> None:
    rows = table_of([(1, ["a"], [5], [None], [True], 7, None, None, None)], 0)
    pq.write_table(rows, tmp_path / "plain.parquet")
    with written(tmp_path / "some.parquet") as (writer, embedded):
        writer.write_table(rows)
        embedded.name_users(rows["user_id"].combine_chunks())
        embedded.hold(rows.select(["user_id", "event_count"]))
    with written(tmp_path / "empty.parquet"):
        pass
    assert found(tmp_path / "plain.parquet", ["u0"], SCHEMA.names)[0].num_rows == 0
    assert found(tmp_path / "empty.parquet", ["u0"], SCHEMA.names)[0].num_rows == 0
    assert found(tmp_path / "some.parquet", ["u0"], SCHEMA.names)[0].num_rows == 0
    some = found(tmp_path / "some.parquet", ["u0"], ["event_count", "user_id"])[0]
    assert some.to_pylist() == [{"event_count": 1, "user_id": "u0"}]


def test_what_is_read_is_the_users_and_the_rows_that_are_wanted(tmp_path: Path) -> None:
    events = [(1, ["a"] * 500, [0] * 500, [None] * 500, [True] * 500, 7, None, None, None)] * 40
    rows = table_of(events, 0)
    with written(tmp_path / "a.parquet") as (writer, embedded):
        writer.write_table(rows)
        embedded.name_users(rows["user_id"].combine_chunks())
        embedded.hold(rows)
    row, read = found(tmp_path / "a.parquet", ["u7", "u99"], SCHEMA.names)
    assert row.equals(rows.slice(7, 1))
    all_of_them = found(tmp_path / "a.parquet", [f"u{number}" for number in range(40)], SCHEMA.names)[1]
    assert read < all_of_them / 10
