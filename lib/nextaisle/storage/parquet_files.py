"""Arrow batches to Parquet files in a table's folder, from the process that made them.

Spark writes Parquet row by row and value by value, which takes longer than all that our kernels do; Arrow writes whole
columns. A file is part of the table once Delta's log names it (delta_log.py), and nothing until then.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from nextaisle.arrays import run_starts, text_run_starts
from nextaisle.contract.errors import ConfigurationError, ConflictError, SchemaError
from nextaisle.contract.tables import Table
from nextaisle.spark import literally, tasks_for_files
from nextaisle.storage.embedded import USER_HASH, EmbeddedRows
from nextaisle.storage.folders import Folder, Scratch
from nextaisle.storage.kernels import ArrowRows, Batches, with_column

log = logging.getLogger(__name__)

# Bytes that a task holds back, of all its days together, before the fullest is written; sorted, it takes twice as many.
_HELD_BYTES: Final = 64 << 20
# The same of rows that are to be embedded, of which few large pieces are opened faster than many.
_HELD_TO_EMBED: Final = 32 << 20
# Files that a task keeps open for more: a process may usually have a thousand, and a build of years has as many days.
_OPEN_FILES: Final = 512
_FILES: Final = pa.schema(
    {
        "path": pa.string(),
        "day": pa.date32(),
        "size": pa.int64(),
        "row_count": pa.int64(),
        "first_hash": pa.int64(),
        "last_hash": pa.int64(),
    }
)
# What a kernel may say of a row beside the table's columns: it is likely to go soon, and lies in a file with its like,
# so that a night which takes such rows away leaves the file of all others as it is.
IS_PASSING: Final = "is_passing"
# Beside the columns of rows that wait: whether a row is to be embedded.
_LAST: Final = "is_last"
_EPOCH: Final = date(1970, 1, 1)
# Spark's names of codecs that Arrow calls otherwise.
_CODECS: Final = {"none": None, "uncompressed": None, "lz4_raw": "lz4", "lz4hadoop": "lz4"}


class NewFile(NamedTuple):
    """A file that was written; `path` is that in the table's folder.

    The hashes are the least and the greatest of its users' where it has embedded rows.
    """

    path: str
    day: date
    size: int
    row_count: int
    first_hash: int | None
    last_hash: int | None


class NewFiles:
    """Files in a table's folder that are not part of the table yet. As a context: those that cannot be are removed."""

    def __init__(self, folder: Folder, files: Sequence[NewFile]) -> None:
        self._folder, self._all = folder, tuple(files)
        self.kept = self._all
        self._may_be_committed = False

    def __enter__(self) -> "NewFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for file in set(self._all) - set(self.kept if self._may_be_committed else ()):
            try:
                self._folder.remove(file.path)
            except OSError as error:
                log.warning("%s is of no table and could not be removed, VACUUM will: %s", file.path, error)

    def keep(self, days: set[date]) -> None:
        """Leaves out the files of all other days."""
        self.kept = tuple(file for file in self._all if file.day in days)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Whatever goes wrong from here on, the table may have the kept files, unless another writer was faster.

        Elsewhere it may have them even then: the client of a store that is not answered tries again, and finds its own.
        """
        self._may_be_committed = True
        try:
            yield
        except ConflictError:
            self._may_be_committed = not self._folder.is_here
            raise

    def refuse_unseen(self, spark: SparkSession) -> None:
        """Asks Spark for the files, where it may see another folder than a task that wrote one.

        Raises:
            ConfigurationError: one is not there, or of another size.
        """
        if not self._all or (self._folder.is_here and str(spark.sparkContext.master).startswith("local")):
            return
        paths = [f"{literally(self._folder.name)}/{file.path}" for file in self._all]
        try:
            rows = spark.read.format("binaryFile").load(paths).select("path", "length").collect()
        except AnalysisException as error:
            if error.getCondition() != "PATH_NOT_FOUND":
                raise
            rows = []
        sizes = {row["path"].rsplit("/", 1)[-1]: row["length"] for row in rows}
        for file in self._all:
            if (found := sizes.get(file.path.rsplit("/", 1)[-1])) != file.size:
                raise ConfigurationError(
                    f"Spark finds {found or 'no'} bytes of {file.path} in {self._folder.name}, where a task has "
                    f"written {file.size}; does each node reach that folder, by store.python_root or a mount? Nothing "
                    "was committed"
                )

    def rows(self, spark: SparkSession, table: Table, days: set[date]) -> DataFrame:
        """Those of these days, of all files."""
        paths = [f"{literally(self._folder.name)}/{file.path}" for file in self._all if file.day in days]
        read = spark.read.schema(table.schema).option("basePath", self._folder.name).parquet(*paths)
        return read.select(*table.names)

    def refuse_others(self, spark: SparkSession, table: Table, where: str) -> None:
        """
        Raises:
            SchemaError: a file's day does not match `where`.
        """
        days = ", ".join(sorted({f"(DATE'{file.day}')" for file in self._all}))
        of_others = f"SELECT * FROM VALUES {days} AS files({table.day}) WHERE NOT ({where})"
        if days and (others := spark.sql(of_others).collect()):
            raise SchemaError(f"rows of {others[0][0]} were made for table {table.name} where {where}")


def write_files(rows: ArrowRows, folder: Folder, codec: str) -> NewFiles:
    """Writes the rows in `folder`: a file per task and day.

    Rows that a kernel calls IS_PASSING lie in another file of the day. Of a table with `carried` columns those are
    embedded that come with their USER_HASH, in the order of it.

    Raises:
        SchemaError: a kernel's columns are not the table's.
    """
    table, name = rows.table, _CODECS.get(codec, codec)

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        with folder.scratch() as scratch, _Writers(table, schema, folder, scratch, name) as writers:
            for batch in batches:
                writers.add(batch)
            files = writers.close()
        if files:
            yield pa.RecordBatch.from_pylist([file._asdict() for file in files], _FILES)

    # Here, where there is a session to read DDL.
    schema = to_arrow_schema(table.schema)
    written = rows.map(write, from_arrow_schema(_FILES))
    with tasks_for_files(written.sparkSession):
        return NewFiles(folder, [NewFile(*row) for row in written.collect()])


@dataclass
class _File:
    """A file that is being written."""

    path: str
    sink: pa.NativeFile
    writer: pq.ParquetWriter
    embedded: EmbeddedRows
    row_count: int = 0

    def close(self) -> tuple[int, int] | None:
        """The first and the last hash of its users, where it has any."""
        hashes = self.embedded.close()
        self.writer.close()
        self.sink.close()
        return hashes


class _Place(NamedTuple):
    """Which file a row belongs in: a day, in days since 1970."""

    day: int
    is_passing: bool


class _Writers:
    """The files of a task, one per place or, where more than may be open at once have much, several.

    Memory is bounded by what may be held back, whatever comes. Where an error ends it, it takes its files away.
    """

    def __init__(self, table: Table, schema: pa.Schema, folder: Folder, scratch: Scratch, codec: str | None) -> None:
        self._day, self._carried = table.partition[0], list(table.carried)
        self._folder, self._scratch, self._codec = folder, scratch, codec
        self._schema = schema
        self._inner = self._schema.remove(self._schema.get_field_index(self._day))
        self._waiting: dict[_Place, list[pa.RecordBatch]] = {}
        self._bytes: dict[_Place, int] = {}
        self._open: dict[_Place, _File] = {}  # the one used last comes last
        self._begun: list[str] = []
        self._files: list[NewFile] = []

    def __enter__(self) -> "_Writers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            for file in self._open.values():
                with suppress(OSError):  # a full disk, which ended it, is still full
                    file.close()
            for path in self._begun:
                with suppress(OSError):  # nor does a store that did not answer
                    self._folder.remove(path)

    def add(self, batch: pa.RecordBatch) -> None:
        fitted = _fitted(batch, self._schema)
        days = fitted.column(self._day).cast(pa.int32()).to_numpy()
        rows = fitted.select(self._inner.names)
        if self._carried and USER_HASH in batch.schema.names:
            rows = with_column(rows, USER_HASH, batch.column(USER_HASH))
            rows = with_column(rows, _LAST, _is_last(rows["user_id"]))
        is_passing = np.zeros(len(batch), bool)
        if IS_PASSING in batch.schema.names:
            is_passing = batch.column(IS_PASSING).to_numpy(zero_copy_only=False)
        for place, part in _by_place(rows, days, is_passing):
            self._waiting.setdefault(place, []).append(part)
            self._bytes[place] = self._bytes.get(place, 0) + part.nbytes
        while sum(self._bytes.values()) > _HELD_BYTES:
            self._flush(max(self._bytes, key=self._bytes.__getitem__))

    def close(self) -> list[NewFile]:
        for place in sorted(self._waiting.keys() | self._open.keys()):
            if place in self._waiting:
                self._flush(place)
            self._finish(place)
        return self._files

    def _flush(self, place: _Place) -> None:
        rows = pa.Table.from_batches(self._waiting.pop(place))
        del self._bytes[place]
        self._open[place] = file = self._open.pop(place, None) or self._begin(place.day)
        file.writer.write_table(rows.select(self._inner.names), row_group_size=len(rows))
        file.row_count += len(rows)
        if USER_HASH in rows.column_names:
            file.embedded.name_users(rows[USER_HASH].to_numpy())
            file.embedded.hold(rows.filter(rows[_LAST]).select([*self._carried, USER_HASH]))
            self._embed()
        if len(self._open) > _OPEN_FILES:
            self._finish(next(iter(self._open)))

    def _begin(self, day: int) -> _File:
        path = f"{self._day}={_EPOCH + timedelta(days=day)}/part-{uuid.uuid4()}.parquet"
        self._begun.append(path)
        options = _encoding(self._inner)
        sink = self._scratch.create(path)
        writer = pq.ParquetWriter(sink, self._inner, compression=self._codec or "none", **options)
        return _File(path, sink, writer, EmbeddedRows(sink))

    def _embed(self) -> None:
        held = {file.embedded: file.embedded.held_bytes for file in self._open.values()}
        if sum(held.values()) > _HELD_TO_EMBED:
            max(held, key=held.__getitem__).write()

    def _finish(self, place: _Place) -> None:
        if file := self._open.pop(place, None):
            hashes = file.close() or (None, None)
            day, size = _EPOCH + timedelta(days=place.day), self._scratch.put(file.path)
            self._files.append(NewFile(file.path, day, size, file.row_count, *hashes))


def _is_last(users: pa.Array) -> pa.Array:
    """Whether a row is the last in its run of a user's: of days that are made together, a night goes on from the last.

    A user whose rows came in two batches has one too many. Where a later build replaces the day of that last row, the
    row before it has no copy, and is read as Parquet has it.
    """
    is_last = np.zeros(len(users), bool)
    # The row before the first is that at the end.
    is_last[text_run_starts(users) - 1] = True
    return pa.array(is_last)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch's columns as the table has them.

    Raises:
        SchemaError: one is missing, of another type, or null where it may not be.
    """
    if missing := [name for name in schema.names if name not in batch.schema.names]:
        raise SchemaError(f"rows made for a table lack {', '.join(missing)}")
    columns = [batch.column(field.name) for field in schema]
    for field, column in zip(schema, columns, strict=True):
        # Lists are alike whatever their elements are called.
        if not column.type.equals(field.type):
            raise SchemaError(f"column {field.name} is {column.type}, expected {field.type}")
        if not field.nullable and column.null_count:
            raise SchemaError(f"column {field.name} is null in {column.null_count} of {len(batch)} rows")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """How Parquet keeps each column, as arguments of ParquetWriter.

    Words come again and again, and so do prices in a list: a dictionary. Instants and whole numbers lie near the one
    before: differences, which take a third off a file of sequences. For all else a dictionary costs more than it
    saves, and so do bounds of what lies in lists, by which no reader chooses.
    """
    leaves = dict(leaf for field in schema for leaf in _leaves(field.name, field.type))
    prices = {path for path, kind in leaves.items() if pa.types.is_decimal(kind) and path.endswith(".list.element")}
    words = [path for path, kind in leaves.items() if pa.types.is_string(kind) or path in prices]
    is_number = (pa.types.is_integer, pa.types.is_temporal)
    numbers = {path: "DELTA_BINARY_PACKED" for path, kind in leaves.items() if any(each(kind) for each in is_number)}
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    return {"use_dictionary": words, "column_encoding": numbers, "write_statistics": flat}


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The columns that Parquet keeps for one of ours, by their paths: of a list of structs one for each field."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", kind.key_type)
        yield from _leaves(f"{path}.key_value.value", kind.item_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, kind


def _by_place(
    batch: pa.RecordBatch, days: NDArray[np.int32], is_passing: NDArray[np.bool_]
) -> Iterator[tuple[_Place, pa.RecordBatch]]:
    """The rows of each place, in the order in which they came.

    Copies, not slices: a slice that waits long would hold all of the batch that it is of.
    """
    order = np.lexsort((is_passing, days))
    starts = run_starts(days[order], is_passing[order]).tolist()
    if len(starts) == 1:
        yield _Place(int(days[0]), bool(is_passing[0])), batch
        return
    for start, end in pairwise([*starts, len(days)]):
        first = order[start]
        yield _Place(int(days[first]), bool(is_passing[first])), batch.take(pa.array(order[start:end]))
