"""Tables that an earlier release wrote: read as the contract has them now, and given the columns that came since."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from nextaisle.contract.errors import SchemaError
from nextaisle.contract.tables import Column as TableColumn
from nextaisle.contract.tables import Table


def up_to_date(rows: DataFrame, table: Table) -> DataFrame:
    """The table's rows with its columns as they are now: null where one, or a field of one, was not yet.

    Raises:
        SchemaError: a column is lacking that may not be null.
    """
    if [(field.name, field.dataType) for field in rows.schema] == [(f.name, f.dataType) for f in table.schema]:
        return rows
    _lacking(table, rows.schema)
    return rows.select(*(_up_to_date(field, rows.schema) for field in table.schema))


def alterations(table: Table, schema: StructType) -> list[str]:
    """What ALTER TABLE is to do to a table of this schema: columns and fields to add, and room for nulls.

    Raises:
        SchemaError: a column is lacking that may not be null.
    """
    required = {field.name for field in schema if not field.nullable}
    relaxed = [column.name for column in table.columns if column.is_nullable and column.name in required]
    return [
        *(f"ADD COLUMNS ({column.ddl})" for column in _lacking(table, schema)),
        *(f"ADD COLUMNS ({name} {kind})" for name, kind in _lacking_within(table, schema)),
        *(f"ALTER COLUMN {name} DROP NOT NULL" for name in relaxed),
    ]


def _lacking(table: Table, schema: StructType) -> list[TableColumn]:
    """The columns of the contract that a table of an earlier release is without; all of them may be null.

    Raises:
        SchemaError: one may not.
    """
    lacking = [column for column in table.columns if column.name not in schema.names]
    if required := [column.name for column in lacking if not column.is_nullable]:
        raise SchemaError(
            f"table {table.name} was written by an earlier release, without {', '.join(required)}, which may not be "
            "null; move its folder away and build it again"
        )
    return lacking


def _lacking_within(table: Table, schema: StructType) -> list[tuple[str, str]]:
    """Fields of columns that are structs, as `event.region`, and their types: the same of them."""
    pairs = [(field, schema[field.name].dataType) for field in table.schema if field.name in schema.names]
    return [
        (f"{field.name}.{part.name}", part.dataType.simpleString())
        for field, found in pairs
        if isinstance(field.dataType, StructType) and isinstance(found, StructType)
        for part in field.dataType
        if part.name not in found.names
    ]


def _up_to_date(field: StructField, schema: StructType) -> Column:
    if field.name not in schema.names:
        return F.lit(None).cast(field.dataType).alias(field.name)
    found, column = schema[field.name].dataType, F.col(field.name)
    if not isinstance(field.dataType, StructType) or not isinstance(found, StructType) or found == field.dataType:
        return column
    parts = [
        (column[part.name] if part.name in found.names else F.lit(None)).cast(part.dataType).alias(part.name)
        for part in field.dataType
    ]
    return F.when(column.isNotNull(), F.struct(*parts)).alias(field.name)
