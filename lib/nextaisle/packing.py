"""Lists as bytes: how rows of lists pass through Spark, which takes a list apart value by value.

A list of instants or of money is 8 bytes for each value, and one of truth values a byte. One of texts is two columns:
the texts, one after the other, and 4 bytes for the size of each.

| prices        | packed                          | item_ids        | packed     | sizes               |
|---------------|---------------------------------|-----------------|------------|---------------------|
| 1.5, null     | 15000, _NONE: 16 bytes          | a, bc           | abc        | 1, 2: 8 bytes       |
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextaisle.decimals import MONEY, scaled, unscaled

_NONE: Final = np.iinfo(np.int64).min
_NO_TRUTH: Final = 2
_NO_TEXT: Final = -1


def packed_schema(schema: pa.Schema) -> pa.Schema:
    """What `packed` makes of columns."""
    return pa.schema([field for column in schema for field in _packed_fields(column)])


def _packed_fields(column: pa.Field) -> Iterator[pa.Field]:
    if not pa.types.is_list(column.type):
        yield column
        return
    yield pa.field(column.name, pa.binary())
    if pa.types.is_string(column.type.value_type):
        yield pa.field(_sizes(column.name), pa.binary())


def packed(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with each list as bytes, an empty one where there is none.

    Raises:
        TypeError: values of a type that is not known here.
    """
    schema = packed_schema(rows.schema)
    columns: dict[str, pa.Array] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        columns |= _packed(name, column) if pa.types.is_list(column.type) else {name: column}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def unpacked(rows: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """The column of lists of which `packed` made bytes, of a type; where there are none the list is empty."""
    offsets, data = _bytes(rows[name])
    if pa.types.is_string(kind.value_type):
        size_offsets, sizes = _bytes(rows[_sizes(name)])
        texts = _texts(np.frombuffer(sizes, np.int32), data)
        return pa.ListArray.from_arrays(pa.array(size_offsets // 4), texts)
    values: NDArray[Any] = np.frombuffer(data, _width(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets // values.itemsize), _values(values, kind.value_type))


def _sizes(name: str) -> str:
    return f"{name}_sizes"


def _width(kind: pa.DataType) -> type:
    return np.uint8 if pa.types.is_boolean(kind) else np.int64


def _packed(name: str, column: pa.ListArray) -> dict[str, pa.Array]:
    values, lengths = column.flatten(), column.value_lengths().fill_null(0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if not pa.types.is_string(values.type):
        numbers = _numbers(values)
        return {name: _binary(ends * numbers.itemsize, numbers)}
    places = (
        np.frombuffer(values.buffers()[1], np.int32)[values.offset :][: len(values) + 1] if len(values) else ends[:1]
    )
    sizes = np.where(_is_null(values), _NO_TEXT, np.diff(places)).astype(np.int32)
    text = np.frombuffer(values.buffers()[2] or b"", np.uint8)[places[0] : places[-1]] if len(values) else sizes
    return {name: _binary(places[ends] - places[0], text), _sizes(name): _binary(ends * 4, sizes)}


def _numbers(values: pa.Array) -> NDArray[Any]:
    is_null = _is_null(values)
    if pa.types.is_boolean(values.type):
        return np.where(is_null, _NO_TRUTH, values.fill_null(False).to_numpy(zero_copy_only=False)).astype(np.uint8)
    if values.type == MONEY:
        return np.where(is_null, _NONE, unscaled(values))
    if pa.types.is_timestamp(values.type):
        return np.where(is_null, _NONE, values.cast(pa.int64()).fill_null(0).to_numpy())
    raise TypeError(f"lists of {values.type} cannot be packed")


def _values(numbers: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(numbers == 1, mask=numbers == _NO_TRUTH)
    known = pa.array(numbers, mask=numbers == _NONE)
    if kind != MONEY:
        return known.cast(kind)
    money = scaled(numbers)
    return pa.Array.from_buffers(MONEY, len(money), [known.buffers()[0], money.buffers()[1]])


def _texts(sizes: NDArray[np.int32], data: pa.Buffer) -> pa.Array:
    places = np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))]).astype(np.int32)
    is_known = pa.array(sizes != _NO_TEXT)
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(places), data, is_known.buffers()[1])


def _is_null(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False))


def _binary(places: NDArray[np.int64], data: NDArray[Any]) -> pa.Array:
    buffers = [None, pa.py_buffer(places.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(places) - 1, buffers)


def _bytes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Buffer]:
    """Where each value of a binary column begins, and the last ends; and all of them, one after the other."""
    values = column.combine_chunks()
    places = np.frombuffer(values.buffers()[1], np.int32)[values.offset :][: len(values) + 1]
    if not len(values) or values.buffers()[2] is None:
        return np.zeros(len(values) + 1, np.int32), pa.py_buffer(b"")
    # A copy stands at a multiple of 8.
    data = pa.py_buffer(values.buffers()[2][int(places[0]) : int(places[-1])].to_pybytes())
    return places - places[0], data
