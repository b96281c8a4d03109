"""The latest rows of given users out of a table's Parquet files, without reading the rest.

Spark decodes all rows of a file, of each column that it wants, before it joins them with those it looks for. In the
weeks in which a night looks for where its users stood, few rows are the latest of one of them. So the task that has a
range of users (user_ranges.py) asks the files that may have one, the latest day first, whom they have and where, and
reads of each the rows that it has embedded (embedded.py), and of rows that are not embedded the row groups.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import DataFrame, Row

from nextaisle.arrays import Integers, text_run_starts
from nextaisle.contract.errors import SchemaError
from nextaisle.storage.embedded import USER_HASH, Embedded, part_of, places_of
from nextaisle.storage.folders import Folder, on_disk
from nextaisle.storage.kernels import with_column

# Rows that are decoded at once, whatever the size of the row groups that somebody wrote.
_BATCH_ROWS: Final = 2048
# Hashes of the users of files that a task remembers: those of sixteen million rows.
_REMEMBERED_BYTES: Final = 128 << 20


class Listing(NamedTuple):
    """F files of a table, the latest day first, and the first and the last hash of the users in each."""

    path_F: list[str]
    day_F: pa.Array
    first_F: Integers
    last_F: Integers

    @classmethod
    def of(cls, folder: Folder, files: Sequence[Row], day: str) -> "Listing":
        first_F, last_F = (np.array([file[name] for file in files], np.int64) for name in ("first_hash", "last_hash"))
        day_F = pa.array([file[day] for file in files], pa.date32())
        return cls([folder.path_of(file["path"]) for file in files], day_F, first_F, last_F)

    def files_with(self, hashes: Integers) -> Iterator[tuple[str, pa.Scalar]]:
        """The files, and their days, that may have users with some of these hashes, which are ascending."""
        if len(hashes):
            for file in np.flatnonzero((self.first_F <= hashes[-1]) & (self.last_F >= hashes[0])).tolist():
                yield self.path_F[file], self.day_F[file]


@dataclass
class FileReader:
    """Reads rows of users in files of a folder. `count_bytes` is told of all that is read.

    A task asks for one block of users after another, and in most of them somebody is new, who is looked for in all
    files. So it remembers who is in a file; of one elsewhere, that it is open and, on a disk, what has been read of it.
    """

    folder: Folder
    count_bytes: Callable[[int], None]
    _known: dict[str, Embedded] = field(default_factory=dict, init=False)
    _known_bytes: int = field(default=0, init=False)
    _open: dict[str, pa.NativeFile] = field(default_factory=dict, init=False)
    _parts: dict[tuple[str, int], pa.Buffer] = field(default_factory=dict, init=False)

    def rows(self, path: str, users: pa.Array, hashes: Integers, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those of these users in one file, of those columns that it has. `hashes` are theirs, ascending.

        Raises:
            FileNotFoundError: it is not there.
            SchemaError: it is not what was written.
        """
        embedded = self._known.get(path) or self._opened(path)
        begin, end = np.searchsorted(embedded.hashes, hashes[0]), np.searchsorted(embedded.hashes, hashes[-1], "right")
        in_file = embedded.hashes[begin:end]
        is_there = _is_among(hashes, in_file)
        left, left_hashes = users.filter(pa.array(is_there)), hashes[is_there]
        if not len(left):
            return
        with self._file(path) as file:
            for rows in _of_users(embedded.rows(partial(self._part, path, file), left_hashes, columns), left):
                if self.folder.is_here:
                    self.count_bytes(rows.nbytes)
                is_left = ~_is_in(left, rows.column("user_id"))
                left, left_hashes = left.filter(pa.array(is_left)), left_hashes[is_left]
                yield rows
            if len(places := places_of(left_hashes, in_file) + begin):
                yield from _of_users(_rows_at(file, places, columns, self.count_bytes), left)

    def _opened(self, path: str) -> Embedded:
        with self._file(path) as file:
            embedded = Embedded.of(file, path)
        size = embedded.hashes.nbytes
        self.count_bytes(size)
        if self._known_bytes + size <= _REMEMBERED_BYTES:
            self._known_bytes += size
            self._known[path] = embedded
        return embedded

    @contextmanager
    def _file(self, path: str) -> Iterator[pa.NativeFile]:
        if self.folder.is_here:
            with self.folder.open(path) as file:
                yield file
            return
        if path not in self._open:
            self._open[path] = self.folder.open(path)
        yield self._open[path]

    def _part(self, path: str, file: pa.NativeFile, begin: int, end: int) -> pa.Buffer:
        if self.folder.is_here:
            return part_of(file, begin, end)
        if (path, begin) not in self._parts:
            self.count_bytes(end - begin)
            self._parts[path, begin] = on_disk(part_of(file, begin, end))
        return self._parts[path, begin]


@dataclass(frozen=True)
class FilesOfUsers:
    """Where the latest rows of users are, for a task of Python.

    `schema` is that of the rows that are asked for, user_id among them, and `day` the table's.
    """

    listing: "Broadcast[Listing]"
    reader: FileReader
    schema: pa.Schema
    day: str

    def latest_rows(self, rows: pa.Table) -> pa.Table:
        """Those of the users of `rows` (user_id, USER_HASH; in the order of both), in any order.

        Raises:
            FileNotFoundError: a file is not there.
            SchemaError: a file is not what was written, or lacks a column that may not be null.
        """
        starts = text_run_starts(rows["user_id"])
        users, hashes = rows["user_id"].take(starts).combine_chunks(), rows[USER_HASH].take(starts).to_numpy()
        names = [name for name in self.schema.names if name != self.day]
        found: list[pa.RecordBatch] = []
        for path, day in self.listing.value.files_with(hashes):
            is_left = np.ones(len(users), bool)
            for batch in self.reader.rows(path, users, hashes, names):
                is_left &= ~_is_in(users, batch.column("user_id"))
                found.append(self._completed(batch, day))
            users, hashes = users.filter(pa.array(is_left)), hashes[is_left]
            if not len(users):
                break
        return pa.Table.from_batches(found, self.schema)

    def _completed(self, rows: pa.RecordBatch, day: pa.Scalar) -> pa.RecordBatch:
        """The rows with the partition's day; columns that came to the table later are null."""

        def column(field: pa.Field) -> pa.Array:
            if field.name == self.day:
                return pa.repeat(day, len(rows))
            if field.name in rows.schema.names:
                return rows.column(field.name).cast(field.type)
            if not field.nullable:
                raise SchemaError(f"a file of the table lacks column {field.name}, which may not be null")
            return pa.nulls(len(rows), field.type)

        return pa.RecordBatch.from_arrays([column(field) for field in self.schema], schema=self.schema)


@dataclass(frozen=True)
class LatestRows:
    """The latest rows of users: where Python finds them as they are needed, or, where it cannot, those Spark found."""

    rows: DataFrame
    files: FilesOfUsers | None = None


def seeds_first(rows: pa.Table, seeds: pa.Table) -> pa.Table:
    """Rows of whole users, with each user's seed before the others; columns that seeds lack are null.

    `rows` have all columns and stand in the order of their users; each user of `seeds` has some.
    """
    if not len(seeds):
        return rows
    starts = text_run_starts(rows["user_id"])
    user_R = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    user_S = pc.index_in(seeds["user_id"], value_set=rows["user_id"].take(starts).combine_chunks()).to_numpy()
    columns = [
        seeds[field.name].cast(field.type) if field.name in seeds.column_names else pa.nulls(len(seeds), field.type)
        for field in rows.schema
    ]
    both = pa.concat_tables([pa.Table.from_arrays(columns, schema=rows.schema), rows]).combine_chunks()
    return both.take(pa.array(np.argsort(np.concatenate([user_S, user_R]), kind="stable")))


def with_hashes_of(rows: pa.Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with its users' USER_HASH, as `rows` have them."""
    starts = text_run_starts(rows["user_id"])
    users, hashes = (rows[name].take(starts).combine_chunks() for name in ("user_id", USER_HASH))
    return with_column(batch, USER_HASH, hashes.take(pc.index_in(batch.column("user_id"), value_set=users)))


def _of_users(batches: Iterator[pa.RecordBatch], users: pa.Array) -> Iterator[pa.RecordBatch]:
    """Two users may have one hash."""
    for rows in batches:
        is_meant = _is_in(rows.column("user_id"), users)
        yield rows if is_meant.all() else rows.filter(pa.array(is_meant))


def _is_in(texts: pa.Array, among: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.is_in(texts, value_set=among).to_numpy(zero_copy_only=False))


def _is_among(hashes: Integers, among: Integers) -> NDArray[np.bool_]:
    """Both are ascending."""
    if not len(among):
        return np.zeros(len(hashes), bool)
    places = np.minimum(np.searchsorted(among, hashes), len(among) - 1)
    return np.asarray(among[places] == hashes)


def _rows_at(
    opened: pa.NativeFile, places: Integers, columns: Sequence[str], count_bytes: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """The rows at these places of a Parquet file, ascending."""
    with pq.ParquetFile(opened) as file:
        described = file.metadata
        ends = np.cumsum([described.row_group(group).num_rows for group in range(described.num_row_groups)])
        names = [name for name in columns if name in file.schema_arrow.names]
        group_of = np.searchsorted(ends, places, side="right")
        count_bytes(described.serialized_size + _size(described, np.unique(group_of).tolist(), names))
        for group in np.unique(group_of).tolist():
            begin = int(ends[group]) - described.row_group(group).num_rows
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                within = places[(places >= begin) & (places < begin + len(batch))] - begin
                begin += len(batch)
                if len(within):
                    yield batch.take(pa.array(within))


def _size(described: pq.FileMetaData, groups: Sequence[int], names: Sequence[str]) -> int:
    """Bytes of these columns of row groups; one of lists is several in the file, `prices.list.element`."""
    numbers = [n for n in range(described.num_columns) if described.schema.column(n).path.split(".")[0] in names]
    return sum(described.row_group(group).column(n).total_compressed_size for group in groups for n in numbers)
