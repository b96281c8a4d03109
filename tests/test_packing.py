"""Lists become bytes and lists again."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextaisle.decimals import MONEY
from nextaisle.packing import packed, packed_schema, unpacked

TIMES = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("event_times", pa.list_(TIMES)),
        ("prices", pa.list_(MONEY)),
        ("is_session_start", pa.list_(pa.bool_())),
    ]
)


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any] | None]:
    return st.none() | st.lists(st.none() | of, max_size=4)


ROW = st.tuples(
    st.text(max_size=2),
    lists(st.text(max_size=3)),
    lists(st.integers(-(2**62), 2**62)),
    lists(st.integers(-(10**13), 10**13)),
    lists(st.booleans()),
)


def table_of(rows: list[Any]) -> pa.Table:
    users, items, times, prices, starts = zip(*rows, strict=True) if rows else [()] * 5
    columns = [
        pa.array(users, pa.string()),
        pa.array(items, pa.list_(pa.string())),
        pa.array(times, pa.list_(pa.int64())).cast(pa.list_(TIMES)),
        pa.array(prices, pa.list_(MONEY)),
        pa.array(starts, pa.list_(pa.bool_())),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


@given(st.lists(ROW, max_size=6), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_lists_come_back(rows: list[Any], begin: int, length: int, is_sliced_before: bool) -> None:
    whole = table_of(rows)
    part = whole.slice(begin, length)
    if is_sliced_before:
        batches = [packed(batch) for batch in part.to_batches()]
        made = pa.Table.from_batches(batches, packed_schema(SCHEMA))
    else:
        batches = [packed(batch) for batch in whole.to_batches()]
        made = pa.Table.from_batches(batches, packed_schema(SCHEMA)).slice(begin, length)
    for field in SCHEMA:
        found = unpacked(made, field.name, field.type) if pa.types.is_list(field.type) else made[field.name]
        # A null list comes back as an empty one.
        expected = [[] if each is None else each for each in _told(part[field.name])]
        assert _told(found) == expected


def _told(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    if pa.types.is_list(column.type) and column.type.value_type == TIMES:
        column = column.cast(pa.list_(pa.int64()))
    return list(column.to_pylist())


def test_where_spark_put_null_the_list_is_empty() -> None:
    rows = packed(table_of([("u", ["a"], [1], [2], [True])]).to_batches()[0])
    nothing = {name: pa.nulls(1, rows.schema.field(name).type) for name in rows.schema.names}
    both = pa.concat_tables(
        [pa.table(nothing, rows.schema), pa.table(rows.to_pydict(), rows.schema), pa.table(nothing)]
    )
    assert unpacked(both, "item_ids", pa.list_(pa.string())).to_pylist() == [[], ["a"], []]
    assert unpacked(both, "is_session_start", pa.list_(pa.bool_())).to_pylist() == [[], [True], []]


def test_lists_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="lists of double"):
        packed(pa.RecordBatch.from_pydict({"ratings": [[1.0]]}))
