"""Holds a DataFrame against its table, and names every difference at once."""

from pyspark.sql import DataFrame
from pyspark.sql.types import DataType

from nextaisle.contract.errors import SchemaError
from nextaisle.contract.tables import Table


def check_schema(rows: DataFrame, table: Table) -> DataFrame:
    """Returns `rows` if names, order and types are the table's; nullability is checked by Delta.

    Raises:
        SchemaError: lists every column that is missing, unexpected, of another type or out of place.
    """
    found = {field.name: field.dataType for field in rows.schema}
    expected = {field.name: field.dataType for field in table.schema}
    differences = [
        *(f"missing: {name} {expected[name].simpleString()}" for name in expected if name not in found),
        *(f"unexpected: {name}" for name in found if name not in expected),
        *(
            f"{name}: found {found[name].simpleString()}, expected {expected[name].simpleString()}"
            for name in expected
            if name in found and not _same_type(found[name], expected[name])
        ),
    ]
    if not differences and list(found) != list(expected):
        differences = [f"order: found {list(found)}, expected {list(expected)}"]
    if differences:
        raise SchemaError(f"rows for table {table.name} differ from its contract:\n  " + "\n  ".join(differences))
    return rows


def _same_type(found: DataType, expected: DataType) -> bool:
    return found.simpleString() == expected.simpleString()
