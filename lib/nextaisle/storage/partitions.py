"""Conditions that name partitions, and which of them differ from the rows that are to replace them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nextaisle.contract.tables import Column as TableColumn
from nextaisle.contract.tables import Table


@dataclass(frozen=True)
class Gone:
    """Rows that are taken out of partitions whose other rows stay: their keys, and a condition that is true there."""

    keys: DataFrame
    where: str


def changed_partitions(table: Table, before: DataFrame, after: DataFrame) -> list[Row]:
    """The values of the table's partition columns where rows differ; of a table without any, an empty row."""
    keys = list(table.partition)
    old, new = _fingerprints(table, before, "old"), _fingerprints(table, after, "new")
    if not keys:
        return [Row()] if old.collect()[0]["old"] != new.collect()[0]["new"] else []
    differing = old.join(new, keys, "full").where(~F.col("old").eqNullSafe(F.col("new")))
    return differing.select(keys).collect()


def condition(table: Table, partitions: Sequence[Row]) -> str:
    """What holds of the rows of these partitions, as `(session_date = DATE'2024-01-01')`; `true` without columns."""
    if not table.partition:
        return "true"
    each = [" AND ".join(_literal(key, row[key]) for key in table.partition) for row in partitions]
    return " OR ".join(f"({one})" for one in each)


def days_literal(column: str, days: Iterable[date]) -> str:
    """`event_date IN (DATE'2024-01-01')`: as literals, by which Delta leaves files out."""
    literals = ", ".join(f"DATE'{day:%Y-%m-%d}'" for day in sorted(days))
    return f"{column} IN ({literals})"


def _fingerprints(table: Table, rows: DataFrame, name: str) -> DataFrame:
    """Rows and the sum of their 64-bit hashes, per partition: equal for equal contents in any order."""
    total = F.sum(F.xxhash64(*[part for column in table.columns for part in _hashable(column)]).cast("decimal(38,0)"))
    return rows.groupBy(*table.partition).agg(F.struct(F.count("*"), total).alias(name))


def _hashable(column: TableColumn) -> list[Column]:
    """What is hashed of a column. The hash passes over nulls, so where they stand is hashed beside the values."""
    value = F.col(column.name)
    if column.type.startswith("map"):
        return [F.map_entries(value)]
    if column.type.startswith("array"):
        return [value, F.transform(value, lambda element: element.isNull())]
    if column.type.startswith("struct"):
        return [value, value.isNull(), *(value[name].isNull() for name in _parts(column))]
    return [value, value.isNull()] if column.is_nullable else [value]


def _parts(column: TableColumn) -> list[str]:
    kind = StructType.fromDDL(column.ddl)
    inner = kind.fields[0].dataType if isinstance(kind, StructType) else None
    return inner.names if isinstance(inner, StructType) else []


def _literal(column: str, value: date | str) -> str:
    if isinstance(value, date):
        return f"{column} = DATE'{value:%Y-%m-%d}'"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{column} = '{escaped}'"
