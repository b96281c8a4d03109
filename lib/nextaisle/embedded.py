"""Rows that a Parquet file holds a second time, as Arrow has them in memory, so that one is read without the others.

Parquet decodes a row group to give one of its rows: thousands of rows for each that a night goes on from. So of a table
with `carried` columns a file keeps the rows that a later night may ask for once more, where no reader of Parquet looks,
between its row groups and its footer: a user-defined index, as the Parquet community calls it. With them goes
a hash of the user of every row, embedded or not, which tells who is in the file.

| row groups | pieces: Arrow streams; hashes | begin and end of each | how many, MAGIC | footer | its length, PAR1 |

A file that was rewritten by somebody else has none, and its rows are read as Parquet has them.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextaisle.arrays import hashed
from nextaisle.decimals import MONEY, scaled, unscaled

# In a stream's metadata, the schema of the rows before they were made narrow.
_KINDS: Final = b"kinds"
_MAGIC: Final = b"AISLE\x00\x02\n"
_TAIL: Final = 8  # bytes of the length of Parquet's footer and PAR1
_INTEGER: Final = 8  # bytes of a place, and of how many there are
# Of a stream in memory; Arrow wants its buffers at multiples of this.
_ALIGNMENT: Final = 64
# Whole seconds, milliseconds and cents are kept as such.
_STEPS: Final = (1_000_000, 1000, 100, 1)
# The fields of a map, as a list of structs.
_ENTRY: Final = ("key", "value")


class EmbeddedRows:
    """Writes rows to a file between Parquet's row groups and its footer."""

    def __init__(self, sink: pa.NativeFile) -> None:
        self._sink = sink
        self._held: list[pa.Table] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._places: list[tuple[int, int]] = []
        self.held_bytes = 0

    def name_users(self, users: pa.Array) -> None:
        """Those of rows that Parquet's writer was given."""
        self._hashes.append(hashed(users))

    def hold(self, rows: pa.Table) -> None:
        """Rows for the next piece."""
        if len(rows):
            self._held.append(rows)
            self.held_bytes += rows.nbytes

    def write(self) -> None:
        """Writes what is held as one piece, of one batch. Parquet's writer must not be within a row group."""
        if not self._held:
            return
        rows = pa.concat_tables(self._held).combine_chunks()
        self._held, self.held_bytes = [], 0
        columns = {name: _narrow(rows[name].combine_chunks()) for name in rows.column_names}
        fields = [pa.field(name, each.codes.type, metadata=each.frame) for name, each in columns.items()]
        kinds = {_KINDS: base64.b64encode(rows.schema.serialize())}
        narrow = pa.RecordBatch.from_arrays([each.codes for each in columns.values()], schema=pa.schema(fields, kinds))
        with self._placed(), pa.ipc.new_stream(self._sink, narrow.schema) as stream:
            stream.write_batch(narrow)

    def close(self) -> None:
        """Writes what is held, and where all is; the next that is written must be Parquet's footer."""
        self.write()
        if self._hashes:
            with self._placed():
                self._sink.write(np.concatenate(self._hashes).tobytes())
            self._sink.write(np.array(self._places, np.int64).tobytes())
            self._sink.write(np.int64(len(self._places)).tobytes() + _MAGIC)

    @contextmanager
    def _placed(self) -> Iterator[None]:
        self._sink.write(bytes(-self._sink.tell() % _ALIGNMENT))
        begin = self._sink.tell()
        yield
        self._places.append((begin, self._sink.tell()))


def embedded_rows(
    path: str, users: pa.Array, names: Sequence[str], count_bytes: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """The rows of these users that a file has embedded, of all of these columns; none where it lacks one of them."""
    with pa.memory_map(path) as file:
        for begin, end in _contents(file).pieces:
            (batch,) = pa.ipc.open_stream(_bytes(file, begin, end))
            if not set(names) <= set(batch.schema.names):
                continue
            in_file = batch.column("user_id")
            places = np.flatnonzero(pc.is_in(in_file, value_set=users).to_numpy(zero_copy_only=False))
            rows = batch.select(names).take(pa.array(places))
            kinds = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(batch.schema.metadata[_KINDS])))
            narrow = [Narrow(rows.column(name), rows.schema.field(name).metadata or {}) for name in names]
            wide = [_wide(column, kinds.field(name).type) for name, column in zip(names, narrow, strict=True)]
            found = pa.RecordBatch.from_arrays(wide, list(names))
            count_bytes(in_file.nbytes + found.nbytes)
            yield found


def embedded_users(path: str) -> NDArray[np.uint64] | None:
    """`hashed` of each row's user, in any order; None of a file that does not say."""
    with pa.memory_map(path) as file:
        hashes = _contents(file).hashes
        return np.frombuffer(_bytes(file, *hashes), np.uint64) if hashes else None


class _Contents(NamedTuple):
    """Where in a file each piece begins and ends, and the hashes of its users; nothing of a file without them."""

    pieces: list[tuple[int, int]]
    hashes: tuple[int, int] | None


def _contents(file: pa.MemoryMappedFile) -> _Contents:
    size = file.size()
    footer = size - _TAIL - int.from_bytes(_bytes(file, max(0, size - _TAIL), size - 4).to_pybytes(), "little")
    count_end = footer - len(_MAGIC)
    if count_end < _INTEGER or _bytes(file, count_end, footer).to_pybytes() != _MAGIC:
        return _Contents([], None)
    places_end = count_end - _INTEGER
    count = int.from_bytes(_bytes(file, places_end, count_end).to_pybytes(), "little")
    places = np.frombuffer(_bytes(file, places_end - 2 * _INTEGER * count, places_end), np.int64)
    *pieces, hashes = [(begin, end) for begin, end in places.reshape(-1, 2).tolist()]
    return _Contents(pieces, hashes)


def _bytes(file: pa.MemoryMappedFile, begin: int, end: int) -> pa.Buffer:
    """Not copied: what nobody looks at is not read."""
    file.seek(begin)
    return file.read_buffer(end - begin)


class Narrow(NamedTuple):
    """A column in fewer bytes, any value of which is found without those before.

    | of                             | codes                                                           | frame        |
    |--------------------------------|-----------------------------------------------------------------|--------------|
    | texts                          | a number for each distinct one, and those, where that is less   |              |
    | numbers, days, instants, money | (n - base) / step, in as few bytes as the largest of them needs | base, step   |
    | structs                        | of their fields likewise                                        | field/base   |
    | lists, maps (lists of structs) | of their values likewise                                        | theirs       |
    """

    codes: pa.Array
    frame: dict[bytes, bytes]


def _narrow(column: pa.Array) -> Narrow:
    kind = column.type
    if (pa.types.is_list(kind) or pa.types.is_map(kind)) and not column.null_count:
        is_map = pa.types.is_map(kind)
        inner = pa.StructArray.from_arrays([column.keys, column.items], _ENTRY) if is_map else column.values
        values = _narrow(inner)
        return Narrow(pa.ListArray.from_arrays(column.offsets, values.codes), values.frame)
    if pa.types.is_struct(kind) and not column.null_count:
        fields = {field.name: _narrow(column.field(field.name)) for field in kind}
        codes = pa.StructArray.from_arrays([each.codes for each in fields.values()], list(fields))
        return Narrow(codes, {_of(name, key): fields[name].frame[key] for name in fields for key in fields[name].frame})
    if pa.types.is_string(kind):
        coded = column.dictionary_encode()
        indices = coded.indices.cast(_least(len(coded.dictionary)))
        is_less = indices.nbytes + coded.dictionary.nbytes < column.nbytes
        return Narrow(pa.DictionaryArray.from_arrays(indices, coded.dictionary) if is_less else column, {})
    if kind == MONEY:
        return _framed(unscaled(column), column.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        return _framed(_whole(column.fill_null(0)), column.is_null().to_numpy(zero_copy_only=False))
    return Narrow(column, {})


def _wide(narrow: Narrow, kind: pa.DataType) -> pa.Array:
    """The column, of a type, that `_narrow` was given."""
    codes, frame = narrow
    # Of codes that are as wide as the numbers, the base is not part.
    if codes.type == kind and not frame:
        return codes
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(codes.offsets, _wide(Narrow(codes.values, frame), kind.value_type), type=kind)
    if pa.types.is_map(kind):
        entries = pa.struct(zip(_ENTRY, (kind.key_type, kind.item_type), strict=True))
        keys, items = _wide(Narrow(codes.values, frame), entries).flatten()
        return pa.MapArray.from_arrays(codes.offsets, keys, items)
    if pa.types.is_struct(kind):
        fields = [_wide(Narrow(codes.field(field.name), _frame_of(frame, field.name)), field.type) for field in kind]
        return pa.StructArray.from_arrays(fields, fields=list(kind))
    if pa.types.is_dictionary(codes.type):
        return codes.dictionary_decode()
    filled = codes.fill_null(0).cast(pa.int64()).to_numpy() * int(frame[b"step"]) + int(frame[b"base"])
    numbers = scaled(filled) if kind == MONEY else _of_whole(filled, kind)
    return pc.if_else(codes.is_valid(), numbers, pa.nulls(len(numbers), kind)) if codes.null_count else numbers


def _of(field: str, key: bytes) -> bytes:
    return field.encode() + b"/" + key


def _frame_of(frame: dict[bytes, bytes], field: str) -> dict[bytes, bytes]:
    """That of a struct's field."""
    return {key.removeprefix(_of(field, b"")): frame[key] for key in frame if key.startswith(_of(field, b""))}


def _whole(column: pa.Array) -> NDArray[np.int64]:
    days = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
    return np.asarray(days.cast(pa.int64()).to_numpy())


def _of_whole(numbers: NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    whole = pa.array(numbers)
    return whole.cast(pa.int32()).cast(kind) if pa.types.is_date32(kind) else whole.cast(kind)


def _framed(numbers: NDArray[np.int64], is_null: NDArray[np.bool_]) -> Narrow:
    known = numbers[~is_null]
    base, last = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    if last - base >= 1 << 63:
        return Narrow(pa.array(numbers, mask=is_null), {b"base": b"0", b"step": b"1"})
    step = next(step for step in _STEPS if not ((known - base) % step).any())
    codes = pa.array((numbers - base) // step, mask=is_null).cast(_least((last - base) // step))
    return Narrow(codes, {b"base": str(base).encode(), b"step": str(step).encode()})


def _least(largest: int) -> pa.DataType:
    """The narrowest type of signed integers that holds this one."""
    return next(kind for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64()) if largest < 1 << kind.bit_width - 1)
