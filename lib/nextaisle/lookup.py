"""The latest rows of given users out of a table's Parquet files, without reading the rest.

Spark decodes all rows of a file, of each column that it wants, before it joins them with those it looks for. In the
weeks in which a night looks for where its users stood, few rows are the latest of one of them. So Python reads whom
each file has, of which Spark finds each user's latest; then Python reads of a file the rows that it has embedded
(embedded.py), and of one that has none the row groups in which they lie.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from nextaisle.arrays import hashed
from nextaisle.contract.errors import SchemaError
from nextaisle.contract.tables import Table
from nextaisle.embedded import embedded_rows, embedded_users
from nextaisle.kernels import Batches, Part
from nextaisle.spark import staged

# The column of a row's `file_code`.
CODE: Final = "file_code"
_HASH: Final = "user_hash"
# Rows that are decoded at once, whatever the size of the row groups that somebody wrote.
_BATCH_ROWS: Final = 2048
# Of what was found, as it goes on.
_BATCH_BYTES: Final = 4 << 20
_NAME_BITS: Final = 44
_NOBODY: Final = np.zeros(0, np.uint64)
# Hashes of users, 8 bytes each, that every task may have in memory.
_MOST_SHARED: Final = 10_000_000
# Files differ in how many such rows they have, and each task of Python costs time before its first row.
_TASKS_PER_CORE: Final = 4


def file_code(day: Column, path: Column) -> Column:
    """The day of a file, and a hash of its path, as one integer: the greatest is of the latest day.

    Of a number Spark keeps the maximum in a hash table; for a struct or a text it would sort all rows. Two files of a
    day that get one number do no harm: both are opened.
    """
    days = F.shiftleft(F.unix_date(day).cast("bigint"), _NAME_BITS)
    return days.bitwiseOR(F.shiftrightunsigned(F.xxhash64(path), 64 - _NAME_BITS)).alias(CODE)


def rows_of_users(
    users: DataFrame, files: DataFrame, folder: str, table: Table, columns: Sequence[str],
    count_bytes: Callable[[int], None],
) -> Part:  # fmt: skip
    """These columns, user_id among them, of the latest row of each of `users` (user_id) in these files of `table`.

    Which files have them is found at once, they are read when they are asked for. `files`: CODE, the table's day, and
    `path`, as Delta's log has it; they lie in `folder`, which every executor must see under this name. `count_bytes` is
    told of all that is read.

    Raises:
        FileNotFoundError: a file is not there.
        SchemaError: a file lacks a row that it was said to hold, or a column that may not be null.
    """
    day = table.partition[0]
    kinds = StructType([table.schema[name] for name in columns])
    schema, names = to_arrow_schema(kinds), [name for name in columns if name != day]

    def completed(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for of_day, paths, wanted in zip(*batch.columns, strict=True):
                local = [_local(folder, path) for path in paths.as_py() or ()]
                for rows in rows_in(local, wanted.values, names, count_bytes):
                    yield _completed(rows, schema, {day: of_day})

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        return _together(completed(batches))

    by_code = files.groupBy(CODE).agg(F.first(day).alias(day), F.collect_list("path").alias("paths"))
    # AQE would go by bytes, which are few, and give all files to one task.
    tasks = max(1, min(files.count(), users.sparkSession.sparkContext.defaultParallelism * _TASKS_PER_CORE))
    latest = _latest_files(users, files.repartition(tasks), folder, count_bytes)
    by_file = staged(latest.repartition(tasks, CODE).groupBy(CODE).agg(F.collect_list("user_id").alias("users")))
    return Part(by_file.join(F.broadcast(by_code), CODE, "left").select(day, "paths", "users"), read)


def _latest_files(users: DataFrame, files: DataFrame, folder: str, count_bytes: Callable[[int], None]) -> DataFrame:
    """(user_id, CODE): the latest of these files that has each user. Whom it has a file tells by 64 bits of each."""
    named = staged(users.mapInArrow(_with_hash, f"user_id string, {_HASH} bigint"), _HASH)
    # Of more users all that the files have goes to Spark's join.
    is_shared = named.count() <= _MOST_SHARED
    wanted = np.sort(named.select(_HASH).toArrow()[_HASH].to_numpy().view(np.uint64)) if is_shared else None
    shared = users.sparkSession.sparkContext.broadcast(wanted)

    def find(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, code in zip(batch.column("path").to_pylist(), batch.column(CODE).to_pylist(), strict=True):
                found = _users_of(_local(folder, path), count_bytes)
                found = found if shared.value is None else _found(found, shared.value)
                hashes = pa.array(np.unique(found).view(np.int64))
                yield pa.RecordBatch.from_arrays([hashes, pa.repeat(code, len(hashes))], [_HASH, CODE])

    found = files.select("path", CODE).mapInArrow(find, f"{_HASH} bigint, {CODE} bigint")
    return found.groupBy(_HASH).agg(F.max(CODE).alias(CODE)).join(named, _HASH).select("user_id", CODE)


def _with_hash(batches: Batches) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        users = batch.column("user_id")
        yield pa.RecordBatch.from_arrays([users, pa.array(hashed(users).view(np.int64))], ["user_id", _HASH])


def _users_of(path: str, count_bytes: Callable[[int], None]) -> NDArray[np.uint64]:
    """The hash of each row's user."""
    hashes = embedded_users(path)
    if hashes is None:
        with pq.ParquetFile(path) as file:
            described = file.metadata
            count_bytes(described.serialized_size + _size(described, range(described.num_row_groups), ["user_id"]))
            batches = file.iter_batches(columns=["user_id"], use_threads=False)
            return np.concatenate([_NOBODY, *(hashed(batch.column("user_id")) for batch in batches)])
    count_bytes(hashes.nbytes)
    return hashes


def _found(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Those of `hashes` that are in `wanted`, which is sorted."""
    if not len(wanted):
        return hashes[:0]
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    found: NDArray[np.uint64] = hashes[wanted[places] == hashes]
    return found


def _local(folder: str, path: str) -> str:
    """The name of a file here; Delta's log has it as a URL, relative to the table or whole."""
    url = urlsplit(path)
    if url.scheme not in ("", "file"):
        raise SchemaError(f"{path} belongs to the table in {folder}, but lies elsewhere: copy it there")
    return str(Path(folder, unquote(url.path)))


def rows_in(
    paths: Sequence[str], users: pa.Array, columns: Sequence[str], count_bytes: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """The rows of these users, each of whom has one in one of the files, of those columns that the files have."""
    missing = len(users)
    for path in paths:
        left = users
        for rows in embedded_rows(path, users, columns, count_bytes):
            left = left.filter(pc.invert(pc.is_in(left, value_set=rows.column("user_id"))))
            missing -= len(rows)
            yield rows
        if not len(left):
            continue
        with pq.ParquetFile(path) as file:
            described = file.metadata
            names = [name for name in columns if name in file.schema_arrow.names]
            groups, found = _groups_with(file, left)
            missing -= found
            count_bytes(described.serialized_size + _size(described, range(described.num_row_groups), ["user_id"]))
            count_bytes(_size(described, groups, names))
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names, use_threads=False):
                yield batch.filter(pc.is_in(batch.column("user_id"), value_set=left))
    if missing:
        raise SchemaError(f"{missing} of {len(users)} users' latest rows are not in {', '.join(paths) or 'any file'}")


def _groups_with(file: pq.ParquetFile, users: pa.Array) -> tuple[list[int], int]:
    """The row groups that have a row of these users, and how many such rows there are."""
    described = file.metadata
    ends = np.cumsum([described.row_group(group).num_rows for group in range(described.num_row_groups)])
    in_file = file.read(columns=["user_id"], use_threads=False)["user_id"]
    places = np.flatnonzero(pc.is_in(in_file, value_set=users).to_numpy())
    return np.unique(np.searchsorted(ends, places, side="right")).tolist(), len(places)


def _size(described: pq.FileMetaData, groups: Sequence[int], names: Sequence[str]) -> int:
    """Bytes of these columns of row groups; one of lists is several in the file, `prices.list.element`."""
    numbers = [n for n in range(described.num_columns) if described.schema.column(n).path.split(".")[0] in names]
    return sum(described.row_group(group).column(n).total_compressed_size for group in groups for n in numbers)


def _together(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The same rows in few batches: what each costs whoever goes on with it is spread over more rows."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= _BATCH_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, size = [], 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def _completed(rows: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, pa.Scalar]) -> pa.RecordBatch:
    """The rows with what is the same for all of them; columns that came to the table later are null."""

    def column(field: pa.Field) -> pa.Array:
        if field.name in constants:
            return pa.repeat(constants[field.name], len(rows))
        if field.name in rows.schema.names:
            return rows.column(field.name).cast(field.type)
        if not field.nullable:
            raise SchemaError(f"a file of the table lacks column {field.name}, which may not be null")
        return pa.nulls(len(rows), field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in schema], schema=schema)
