"""Rows that a Parquet file holds a second time, as Arrow has them in memory, so that one is read without the others.

Parquet decodes a row group to give one of its rows: thousands of rows for each that a night goes on from. So of a table
with `carried` columns a file keeps the rows that a later night may ask for once more, where no reader of Parquet looks,
between its row groups and its footer: a user-defined index, as the Parquet community calls it. With them goes
the hash of the user of every row, embedded or not, which tells who is in the file, and where.

| row groups | pieces: Arrow streams; hashes | of each: where, whom | how many, MAGIC | footer | its length, PAR1 |

Rows come in order of their users' hashes, so that readers go through a file once, with users in the same order.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextaisle.arrays import Integers, gathered, run_starts
from nextaisle.contract.errors import SchemaError
from nextaisle.decimals import MONEY, scaled, unscaled

# The column that says where in the order of all users a row's user comes (user_ranges.py).
USER_HASH: Final = "user_hash"
# In a stream's metadata, the schema of the rows before they were made narrow.
_KINDS: Final = b"kinds"
_MAGIC: Final = b"AISLE\x00\x03\n"
_TAIL: Final = 8  # bytes of the length of Parquet's footer and PAR1
_INTEGER: Final = 8  # bytes of one of the numbers that tell of a piece, and of how many pieces there are
# Of a stream in memory; Arrow wants its buffers at multiples of this.
_ALIGNMENT: Final = 64
# Whole seconds, milliseconds and cents are kept as such.
_STEPS: Final = (1_000_000, 1000, 100, 1)
# Bytes of a file, from one to before another.
ReadPart = Callable[[int, int], pa.Buffer]
# The fields of a map, as a list of structs.
_ENTRY: Final = ("key", "value")


class _Piece(NamedTuple):
    """Where in a file something lies, and the first and the last hash that it has."""

    begin: int
    end: int
    first: int
    last: int


class EmbeddedRows:
    """Writes rows to a file between Parquet's row groups and its footer."""

    def __init__(self, sink: pa.NativeFile) -> None:
        self._sink = sink
        self._held: list[pa.Table] = []
        self._hashes: list[Integers] = []
        self._pieces: list[_Piece] = []
        self.held_bytes = 0

    def name_users(self, hashes: Integers) -> None:
        """USER_HASH of rows that Parquet's writer was given."""
        if len(hashes):
            # A copy, not a view, which would hold all of the batch that it is of.
            self._hashes.append(hashes.copy())

    def hold(self, rows: pa.Table) -> None:
        """Rows for the next piece, with their USER_HASH."""
        if len(rows):
            self._held.append(rows)
            self.held_bytes += rows.nbytes

    def write(self) -> None:
        """Writes what is held as one piece, of one batch. Parquet's writer must not be within a row group."""
        if not self._held:
            return
        rows = pa.concat_tables(self._held).combine_chunks()
        self._held, self.held_bytes = [], 0
        hashes, rows = rows[USER_HASH].combine_chunks(), rows.drop_columns([USER_HASH])
        columns = {name: _narrow(rows[name].combine_chunks()) for name in rows.column_names}
        columns[USER_HASH] = Narrow(hashes, {})
        fields = [pa.field(name, each.codes.type, metadata=each.frame) for name, each in columns.items()]
        kinds = {_KINDS: base64.b64encode(rows.schema.serialize())}
        narrow = pa.RecordBatch.from_arrays([each.codes for each in columns.values()], schema=pa.schema(fields, kinds))
        with self._placed(hashes.to_numpy()), pa.ipc.new_stream(self._sink, narrow.schema) as stream:
            stream.write_batch(narrow)

    def close(self) -> tuple[int, int] | None:
        """Writes what is held, and where all is; the next that is written must be Parquet's footer.

        Gives the first and the last hash; None of a file without rows.

        Raises:
            ValueError: rows did not come in the order of their hashes.
        """
        self.write()
        if not self._hashes:
            return None
        hashes = np.concatenate(self._hashes)
        if (hashes[1:] < hashes[:-1]).any():
            raise ValueError("rows of a file must come in the order of their users' hashes")
        with self._placed(hashes):
            self._sink.write(hashes.tobytes())
        self._sink.write(np.array(self._pieces, np.int64).tobytes())
        self._sink.write(np.int64(len(self._pieces)).tobytes() + _MAGIC)
        return int(hashes[0]), int(hashes[-1])

    @contextmanager
    def _placed(self, hashes: Integers) -> Iterator[None]:
        self._sink.write(bytes(-self._sink.tell() % _ALIGNMENT))
        begin = self._sink.tell()
        yield
        self._pieces.append(_Piece(begin, self._sink.tell(), int(hashes[0]), int(hashes[-1])))


@dataclass(frozen=True)
class Embedded:
    """Where in a file its embedded rows are, and whose.

    `hashes` are those of the users of all its rows, in the order of the rows, which is theirs.
    """

    hashes: Integers
    pieces: tuple[_Piece, ...]

    @classmethod
    def of(cls, file: pa.NativeFile, name: str) -> "Embedded":
        """
        Raises:
            SchemaError: the file has nothing embedded, as one that another program has written.
        """
        footer = file.size() - _TAIL
        footer -= int.from_bytes(part_of(file, max(0, footer), footer + 4).to_pybytes(), "little")
        count_end = footer - len(_MAGIC)
        if count_end < _INTEGER or part_of(file, count_end, footer).to_pybytes() != _MAGIC:
            raise SchemaError(f"{name} has no embedded rows; was it copied from elsewhere? Restore it, or build anew")
        pieces_end = count_end - _INTEGER
        count = int.from_bytes(part_of(file, pieces_end, count_end).to_pybytes(), "little")
        width = _INTEGER * len(_Piece._fields)
        numbers = np.frombuffer(part_of(file, pieces_end - width * count, pieces_end), np.int64)
        *pieces, hashes = (_Piece(*each) for each in numbers.reshape(count, -1).tolist())
        # A copy: a mapped file stays open as long as somebody looks at a part of it.
        return cls(np.frombuffer(part_of(file, hashes.begin, hashes.end), np.int64).copy(), tuple(pieces))

    def rows(self, part: ReadPart, hashes: Integers, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those of users with these hashes, ascending; none where the file lacks one of the columns.

        `part` gives bytes of it. Of what is mapped only these rows are read.
        """
        for piece in self.pieces:
            begin, end = np.searchsorted(hashes, piece.first), np.searchsorted(hashes, piece.last, side="right")
            if begin == end:
                continue
            (batch,) = pa.ipc.open_stream(part(piece.begin, piece.end))
            if not set(names) <= set(batch.schema.names):
                continue
            places = pa.array(places_of(hashes[begin:end], batch.column(USER_HASH).to_numpy()))
            if not len(places):
                continue
            rows = batch.select(names).take(places)
            kinds = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(batch.schema.metadata[_KINDS])))
            narrow = [Narrow(rows.column(name), rows.schema.field(name).metadata or {}) for name in names]
            wide = [_wide(column, kinds.field(name).type) for name, column in zip(names, narrow, strict=True)]
            yield pa.RecordBatch.from_arrays(wide, list(names))


def places_of(wanted: Integers, among: Integers) -> Integers:
    """Where in `among` the values `wanted` are. Both are ascending, and may have one several times."""
    values = wanted[run_starts(wanted)]
    return gathered(np.searchsorted(among, values), np.searchsorted(among, values, side="right"))


def part_of(file: pa.NativeFile, begin: int, end: int) -> pa.Buffer:
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
