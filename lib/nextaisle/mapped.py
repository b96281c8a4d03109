"""What a shop knows beside its logs (items, users, identities), read as the configuration maps it."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Columns, absolute
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.spark import local_rows, mapping_rules, naming_unreadable_files

# From when what is told without a day holds: always, as far as anybody can tell. A first event's day would be another
# one once a late event arrives, and the row another row.
SINCE_EVER: Final = date(1970, 1, 1)


def read_mapped(
    spark: SparkSession, source: Columns, section: str, types: Mapping[str, str], required: tuple[str, ...], zone: str
) -> DataFrame:
    """A column for each of `types`; what is not mapped is null. Rows without one of `required` are nobody's: left out.

    A value that does not fit its type is unknown, as is an empty text. Not so a day: "from always" or "never" in its
    place would show days what they cannot know. The day of an instant is that of `zone`. No path: no rows.

    Raises:
        InputError: nothing is there, it cannot be read, or a day is none.
        ConfigurationError: a required column is not mapped, or an expression does not fit the columns that are there.
    """
    if not source.path:
        return local_rows(spark, [], ", ".join(f"{name} {kind}" for name, kind in types.items()))
    if missing := [name for name in required if name not in source.columns]:
        raise ConfigurationError(
            f"[{section}.columns] has no {', '.join(missing)}, though [{section}] path is {source.path}"
        )
    with mapping_rules(spark, zone):
        rows = _read(spark, source, section)
        columns = [_column(rows, source, section, name, kind).alias(name) for name, kind in types.items()]
        for name in (name for name, kind in types.items() if kind == "date" and name in source.columns):
            _refuse_what_is_no_day(rows, source, section, name)
        mapped = rows.select(*columns)
    for name in required:
        mapped = mapped.where(F.col(name).isNotNull())
    return mapped


def fingerprint(rows: DataFrame) -> str:
    """Equal for the same rows in any order; reads all of them.

    Raises:
        InputError: a file cannot be read to its end.
    """
    # Nulls have no part in a hash: without their places a value could move to the next column unseen.
    parts = [part for name in rows.columns for part in (F.col(name), F.col(name).isNull())]
    total = F.sum(F.xxhash64(*parts).cast("decimal(38,0)"))
    with naming_unreadable_files():
        return f"{rows.columns} {rows.agg(F.count('*'), total).first()}"


def _read(spark: SparkSession, source: Columns, section: str) -> DataFrame:
    reader = spark.read.format(source.format).options(**source.options)
    path = absolute(source.path)
    try:
        with naming_unreadable_files():
            return (reader.schema(source.ddl) if source.ddl else reader).load(path)
    except AnalysisException as error:
        raise InputError(f"[{section}] path {path} cannot be read as {source.format}: {error.getMessage()}") from error


def _column(rows: DataFrame, source: Columns, section: str, name: str, kind: str) -> Column:
    expression = source.columns.get(name)
    if not expression:
        return F.lit(None).cast(kind)
    value = F.expr(expression)
    column = (_text(value) if kind == "string" else value).try_cast(kind)
    try:
        rows.select(column)
    except AnalysisException as error:
        raise ConfigurationError(
            f"[{section}.columns] {name} = {expression!r}: {_first_line(error)}; there are {rows.columns}"
        ) from error
    return column


def _refuse_what_is_no_day(rows: DataFrame, source: Columns, section: str, name: str) -> None:
    text = _text(F.expr(source.columns[name]))
    wrong = rows.where(text.isNotNull() & F.expr(source.columns[name]).try_cast("date").isNull())
    with naming_unreadable_files():
        found = wrong.select(text.alias("text")).first()
    if found:
        raise InputError(
            f"[{section}] path {source.path}: {name} = {source.columns[name]!r} gives {found['text']!r}, expected a "
            "day as 2017-12-31; mend the row, or map it with to_date(..., a pattern)"
        )


def _text(value: Column) -> Column:
    # Invalid UTF-8 in a string column would break plain readers.
    return F.nullif(F.trim(F.try_validate_utf8(value.cast("string"))), F.lit(""))


def _first_line(error: AnalysisException) -> str:
    return (error.getMessage() or str(error)).splitlines()[0]
