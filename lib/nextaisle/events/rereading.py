"""Refused records, read again from the table rejected_events as if they stood in their files.

| source           | kept of a record                  | read again                                            |
|------------------|-----------------------------------|-------------------------------------------------------|
| json, text       | its bytes                         | as a line, by the source.schema of today              |
| csv              | JSON of its columns, their schema | as those columns, in order under the names of today's |
|                  |                                   | source.schema, if it has as many                      |
| csv, unreadable  | its text                          | as a line, by the source.schema of today              |
| others           | JSON of its columns, their schema | as those columns, keys of maps as texts               |

Of a record that source.rows made several rows of, each refused one was kept with what it added: it is not made again.
"""

import re
from collections.abc import Iterator
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nextaisle.config import Source
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.reasons import UNREADABLE
from nextaisle.contract.tables import fields_of
from nextaisle.events.records import (
    CORRUPT,
    IS_UNREADABLE,
    JSON_OPTIONS,
    LINE_FORMATS,
    OURS,
    PATH,
    RECORD,
    RECORD_SCHEMA,
    ROW,
    ROW_SCHEMA,
    as_json,
    parse_lines,
    quoted,
    several,
)

KEPT_INGEST_DATE: Final = f"{OURS}_ingest_date"
_WAS_UNREADABLE: Final = f"{OURS}_was_unreadable"
_TEXT: Final = "value"
_PARSED: Final = f"{OURS}_parsed"


def reread_records(refused: DataFrame, source: Source) -> Iterator[DataFrame]:
    """A DataFrame as of `read_records`, with KEPT_INGEST_DATE, for each layout among the rows of rejected_events.

    Raises:
        ConfigurationError: lines were kept, and source.format is one that has no lines.
    """
    kept = refused.select(
        F.col("path").alias(PATH), F.col("record").alias(RECORD), F.col("ingest_date").alias(KEPT_INGEST_DATE),
        (F.col("reason") == UNREADABLE).alias(_WAS_UNREADABLE), F.col("record_schema").alias(RECORD_SCHEMA),
        F.col("row").alias(ROW), F.col("row_schema").alias(ROW_SCHEMA),
    )  # fmt: skip
    # A handful: one for each header, and each set of columns, that the logs of these days had.
    layouts = kept.select(RECORD_SCHEMA, ROW_SCHEMA, _WAS_UNREADABLE).distinct()
    for layout in layouts.orderBy(RECORD_SCHEMA, ROW_SCHEMA, _WAS_UNREADABLE).collect():
        rows = kept
        for name in (RECORD_SCHEMA, ROW_SCHEMA, _WAS_UNREADABLE):
            rows = rows.where(F.col(name).eqNullSafe(F.lit(layout[name])))
        rows = rows.drop(_WAS_UNREADABLE)
        yield _with_rows(
            _records(rows, source, layout[RECORD_SCHEMA], layout[_WAS_UNREADABLE]), source, layout[ROW_SCHEMA]
        )


def _records(rows: DataFrame, source: Source, record_schema: str | None, was_unreadable: bool) -> DataFrame:
    texts = rows.withColumn(_TEXT, F.col(RECORD).cast("string"))
    if record_schema is None:
        if source.format not in LINE_FORMATS:
            raise ConfigurationError(
                f"refused records of these days are lines of json or text, and source.format is {source.format!r}; "
                "give the overlay that these days were read by"
            )
        return parse_lines(texts, source)
    if was_unreadable:
        return _csv_lines(texts, source, record_schema)
    return _columns(texts, source, record_schema)


def _with_rows(records: DataFrame, source: Source, row_schema: str | None) -> DataFrame:
    if row_schema is None:
        return several(records.drop(ROW, ROW_SCHEMA), source)
    return _with_fields(records, _from_json(ROW, row_schema), row_schema)


def _columns(texts: DataFrame, source: Source, record_schema: str) -> DataFrame:
    stored = _names(record_schema)
    parsed = _with_fields(texts, _from_json(_TEXT, record_schema), record_schema)
    records = parsed.drop(_TEXT) if _TEXT not in stored else parsed
    records = records.withColumn(IS_UNREADABLE, F.lit(False))
    if source.format != "csv" or not source.ddl or len(_names(source.ddl)) != len(stored):
        return records
    # The header's names, or the schema's, may have been mended since: CSV goes by place.
    fields = zip(quoted(stored), fields_of(source.ddl), strict=True)
    renamed = [F.col(old).try_cast(field.dataType).alias(field.name) for old, field in fields]
    ours = [name for name in records.columns if name.startswith(OURS)]
    return _as_received(records.select(*renamed, *ours), source.ddl)


def _csv_lines(texts: DataFrame, source: Source, record_schema: str) -> DataFrame:
    ddl = source.ddl or record_schema
    options = {**source.options, "columnNameOfCorruptRecord": CORRUPT, "mode": "PERMISSIVE"}
    schema = f"{ddl}, {CORRUPT} string"
    parsed = _with_fields(texts.withColumnRenamed(_TEXT, _PARSED), F.from_csv(_PARSED, schema, options), schema)
    marked = parsed.drop(_PARSED).withColumn(IS_UNREADABLE, F.col(CORRUPT).isNotNull()).drop(CORRUPT)
    return _as_received(marked, ddl)


def _as_received(records: DataFrame, ddl: str) -> DataFrame:
    """RECORD and RECORD_SCHEMA as `read_records` gives them for these columns."""
    received = as_json(_names(ddl)).cast("binary")
    schema = records.select(*quoted(_names(ddl))).schema.toDDL()
    return records.withColumns(
        {RECORD: F.when(F.col(IS_UNREADABLE), F.col(RECORD)).otherwise(received), RECORD_SCHEMA: F.lit(schema)}
    )


def _from_json(text: str, ddl: str) -> Column:
    """Keys of maps are texts in JSON, and Spark reads them back as nothing else."""
    schema = re.sub(r'"keyType":"[^"]*"', '"keyType":"string"', StructType.fromDDL(ddl).json())
    return F.from_json(text, schema, JSON_OPTIONS)


def _with_fields(rows: DataFrame, parsed: Column, ddl: str) -> DataFrame:
    """The fields of a parsed text as columns, in place of columns of the same names."""
    others = [name for name in rows.columns if name not in _names(ddl)]
    whole = f"{OURS}_whole"
    return rows.withColumn(whole, parsed).select(*quoted(others), f"{whole}.*")


def _names(ddl: str) -> list[str]:
    return [field.name for field in fields_of(ddl)]
