"""Rows of a table that are made of Arrow batches in Python, and need not go back to Spark to be written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from nextaisle.arrays import text_run_starts
from nextaisle.contract.tables import Table

Batches = Iterable[pa.RecordBatch]
# Batches of one task in, batches of the table's columns out.
Kernel = Callable[[Batches], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Part:
    """What a kernel makes of `source`; without one, `source` holds the table's rows themselves.

    Beside the table's columns there may be what their writer goes by (parquet_files.py, `write_files`).
    """

    source: DataFrame
    kernel: Kernel | None = None


@dataclass(frozen=True)
class ArrowRows:
    """Rows of `table`, of all parts together. Nothing is computed before they are written or asked for."""

    table: Table
    parts: tuple[Part, ...]

    def plus(self, *rows: DataFrame) -> "ArrowRows":
        """These and rows that there are already."""
        return ArrowRows(self.table, (*self.parts, *(Part(each.select(*self.table.names)) for each in rows)))

    def frame(self) -> DataFrame:
        """The same rows for Spark, without what a kernel says to their writer."""
        names, schema = self.table.names, self.table.schema

        def table_columns(batches: Batches) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield batch.select(names)

        frames = [
            part.source.mapInArrow(_one(part.kernel, table_columns), schema)
            if part.kernel
            else part.source.select(*names)
            for part in self.parts
        ]
        return reduce(DataFrame.unionByName, frames)

    def map(self, after: Kernel, schema: StructType) -> DataFrame:
        """What `after` makes of the batches, in the process that made them: no row passes through Spark between."""
        return reduce(
            DataFrame.unionByName, (part.source.mapInArrow(_one(part.kernel, after), schema) for part in self.parts)
        )


def whole_users(
    batches: Batches, most: int, size_of: Callable[[pa.RecordBatch | pa.Table], int] = len
) -> Iterator[pa.Table]:
    """Blocks of rows, of a size of about `most`, that never part a user's rows, which come one after the other."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += size_of(batch)
        if size < most:
            continue
        rows = pa.Table.from_batches(waiting)
        last_user = int(text_run_starts(rows["user_id"])[-1])
        if last_user:
            yield rows.slice(0, last_user).combine_chunks()
            rest = rows.slice(last_user)
            waiting, size = rest.to_batches(), size_of(rest)
    if waiting and len(rows := pa.Table.from_batches(waiting)):
        yield rows.combine_chunks()


def whole_groups(batches: Batches, group: str, least_bytes: int) -> Iterator[pa.Table]:
    """Some whole groups at a time, of rows that come in the order of this column of numbers."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        if waiting and held >= least_bytes:
            # What goes on in this batch belongs to the group that is held last.
            end = int(np.searchsorted(batch.column(group).to_numpy(), waiting[-1].column(group)[-1].as_py(), "right"))
            if end < len(batch):
                rows = pa.Table.from_batches([*waiting, batch.slice(0, end)])
                waiting, held, batch = [], 0, batch.slice(end)
                yield rows.combine_chunks()
        if len(batch):
            waiting.append(batch)
            held += batch.nbytes
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """The batch and one more column."""
    schema = batch.schema.append(pa.field(name, column.type))
    return pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)


def _one(kernel: Kernel | None, after: Kernel) -> Kernel:
    if kernel is None:
        return after
    return lambda batches: after(kernel(batches))
