"""Rows that a Parquet file holds a second time come back as they were, and no reader of Parquet sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
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

from nextaisle.contract.errors import SchemaError
from nextaisle.decimals import MONEY
from nextaisle.storage.embedded import USER_HASH, Embedded, EmbeddedRows, part_of, places_of

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


def hash_of(users: list[str]) -> list[int]:
    """A number that grows with theirs; two users have one."""
    return [(int(user[1:]) - 8) // 2 * 1000 for user in users]


def with_hash(rows: pa.Table) -> pa.Table:
    return rows.append_column(USER_HASH, pa.array(hash_of(rows["user_id"].to_pylist()), pa.int64()))


def embed(embedded: EmbeddedRows, rows: pa.Table) -> None:
    embedded.name_users(with_hash(rows)[USER_HASH].to_numpy())
    embedded.hold(with_hash(rows))


def found(path: Path, users: list[str], names: list[str]) -> pa.Table:
    """The rows of users with the hashes of these."""
    with pa.memory_map(str(path)) as file:
        batches = list(
            Embedded.of(file, path.name).rows(
                partial(part_of, file), np.unique(np.array(hash_of(users), np.int64)), names
            )
        )
    schema = pa.schema([SCHEMA.field(name) for name in names])
    return pa.Table.from_batches(batches).cast(schema) if batches else schema.empty_table()


@given(st.lists(st.lists(ROW, max_size=5), max_size=3), st.sets(st.integers(0, 14)))
def test_any_row_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[Any]], wanted: set[int]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "file.parquet"
    rows = [table_of(piece, 5 * number) for number, piece in enumerate(pieces)]
    with written(path) as (writer, embedded):
        for piece in rows:
            writer.write_table(piece)
            embed(embedded, piece)
            embedded.write()
    whole = pa.concat_tables(rows) if rows else SCHEMA.empty_table()
    assert pq.read_table(path).equals(whole)
    if not len(whole):
        return
    with pa.memory_map(str(path)) as file:
        assert Embedded.of(file, path.name).hashes.tolist() == hash_of(whole["user_id"].to_pylist())
    is_wanted = [user // 2 in {each // 2 for each in wanted} for user in map(_number, whole["user_id"].to_pylist())]
    assert found(path, [f"u{number}" for number in wanted], SCHEMA.names).equals(whole.filter(pa.array(is_wanted)))


def _number(user: str) -> int:
    return int(user[1:])


def test_numbers_that_need_all_their_bytes_come_back(tmp_path: Path) -> None:
    counts = [1, (1 << 31) + 5, (1 << 40) + 7]
    rows = pa.concat_tables([table_of([(count, *[None] * 8)], count) for count in counts])
    with written(tmp_path / "a.parquet") as (writer, embedded):
        writer.write_table(rows)
        embed(embedded, rows)
    users = rows["user_id"].to_pylist()
    assert found(tmp_path / "a.parquet", users, SCHEMA.names)["event_count"].to_pylist() == counts


def test_users_that_do_not_come_in_order_are_an_error(tmp_path: Path) -> None:
    rows = table_of([(1, *[None] * 8)] * 4, 0)
    with (
        pytest.raises(ValueError, match="in the order of their users' hashes"),
        written(tmp_path / "a") as (_, embedded),
    ):
        embed(embedded, rows.take([2, 3, 0, 1]))


def test_a_batch_is_not_held_for_its_hashes(tmp_path: Path) -> None:
    with written(tmp_path / "a.parquet") as (_, embedded):
        batch = pa.record_batch([pa.array([1, 2])], [USER_HASH])
        before = pa.total_allocated_bytes()
        embedded.name_users(batch.column(USER_HASH).to_numpy())
        del batch
        assert pa.total_allocated_bytes() < before


def test_places_are_those_of_each_value_that_is_there() -> None:
    assert places_of(np.array([3, 3, 5, 9]), np.array([1, 3, 3, 4, 9])).tolist() == [1, 2, 4]
    assert places_of(np.array([3]), np.zeros(0, np.int64)).tolist() == []


def test_no_reader_of_parquet_sees_them(tmp_path: Path) -> None:
    rows = table_of([(1, ["a"], [5_000_000], [Decimal(2)], [True], 7, {"view": Decimal(1)}, None, None)] * 3, 0)
    with written(tmp_path / "a.parquet") as (writer, embedded):
        writer.write_table(rows.slice(0, 2))
        embed(embedded, rows)
        embedded.write()
        writer.write_table(rows.slice(2))
    assert pl.read_parquet(tmp_path / "a.parquet")["user_id"].to_list() == ["u0", "u1", "u2"]
    assert duckdb.sql(f"SELECT count(*), max(item_ids) FROM '{tmp_path}/a.parquet'").fetchall() == [(3, ["a"])]
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 2


def test_a_file_without_them_is_an_error_and_one_without_a_column_has_none(tmp_path: Path) -> None:
    rows = table_of([(1, ["a"], [5], [None], [True], 7, None, None, None)], 0)
    pq.write_table(rows, tmp_path / "plain.parquet")
    with written(tmp_path / "some.parquet") as (writer, embedded):
        writer.write_table(rows)
        embedded.name_users(with_hash(rows)[USER_HASH].to_numpy())
        embedded.hold(with_hash(rows).select(["user_id", "event_count", USER_HASH]))
    with written(tmp_path / "empty.parquet"):
        pass
    for name in ("plain.parquet", "empty.parquet"):
        with pytest.raises(SchemaError, match="has no embedded rows"):
            found(tmp_path / name, ["u0"], SCHEMA.names)
    assert found(tmp_path / "some.parquet", ["u0"], SCHEMA.names).num_rows == 0
    some = found(tmp_path / "some.parquet", ["u0"], ["event_count", "user_id"])
    assert some.to_pylist() == [{"event_count": 1, "user_id": "u0"}]
