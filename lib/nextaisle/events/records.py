"""Files to records: what each held, its bytes as received, and whether it could be read at all."""

from collections.abc import Sequence
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Source
from nextaisle.contract.errors import ConfigurationError
from nextaisle.events.files import SourceFile

# Columns of ours beside the log's own.
PATH: Final = "_nextaisle_path"
RECORD: Final = "_nextaisle_record"
IS_UNREADABLE: Final = "_nextaisle_is_unreadable"
_CORRUPT: Final = "_corrupt_record"
_LINE: Final = "_nextaisle_line"
_OBJECT_AFTER_OBJECT: Final = r"\}\s*,?\s*\{"


def read_records(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    """One row per record of `files`, after source.rows: the log's columns, and PATH, RECORD, IS_UNREADABLE.

    An unreadable record is one row of nulls. Lines of JSON and text keep their bytes; of other formats, which have no
    lines, a record is kept as the JSON of its columns.

    Raises:
        ConfigurationError: JSON without a schema, or source.rows that does not fit the columns.
    """
    paths = [file.path for file in files]
    records = _lines(spark, source, paths) if source.format in ("json", "text") else _rows(spark, source, paths)
    return _several(records, source) if source.rows else records


def _lines(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    lines = spark.read.format("text").options(**_line_options(source)).load(paths)
    # Invalid UTF-8 in a string column would break plain readers.
    is_text = F.is_valid_utf8("value")
    if source.format == "text":
        marked = lines.select(
            "value", _path(), F.col("value").cast("binary").alias(RECORD), (~is_text).alias(IS_UNREADABLE)
        )
        return marked.withColumn("value", F.when(~F.col(IS_UNREADABLE), F.col("value")))
    if not source.ddl:
        raise ConfigurationError(
            "source.schema is empty; JSON needs one, as 'user string, item string', see Spark's DDL"
        )
    # The column for corrupt records must be there, else a broken line passes as a row of nulls.
    schema = f"{source.ddl}, {_CORRUPT} string"
    options = {**source.options, "columnNameOfCorruptRecord": _CORRUPT, "mode": "PERMISSIVE"}
    parsed = lines.where(F.length(F.trim("value")) > 0).select(
        F.from_json("value", schema, options).alias(_LINE), _path(), F.col("value").cast("binary").alias(RECORD),
        is_text.alias("is_text"), _is_one_object("value").alias("is_one"),
    )  # fmt: skip
    broken = F.col(f"{_LINE}.{_CORRUPT}").isNotNull() | F.col(_LINE).isNull() | ~F.col("is_text") | ~F.col("is_one")
    marked = parsed.withColumn(IS_UNREADABLE, F.coalesce(broken, F.lit(True)))
    line = F.when(~F.col(IS_UNREADABLE), F.col(_LINE)).alias(_LINE)
    return (
        marked.select(line, PATH, RECORD, IS_UNREADABLE)
        .select(f"{_LINE}.*", PATH, RECORD, IS_UNREADABLE)
        .drop(_CORRUPT)
    )


def _is_one_object(line: str) -> Column:
    """Whether nothing follows the first object: Spark would drop it in silence.

    Only lines where an object follows another, be it within an array, are parsed a second time.
    """
    as_array = F.concat(F.lit("["), F.col(line), F.lit("]"))
    is_single = F.coalesce(F.json_array_length(as_array) == 1, F.lit(False))
    ends = F.endswith(F.rtrim(F.col(line)), F.lit("}"))
    return ends & F.when(F.rlike(F.col(line), F.lit(_OBJECT_AFTER_OBJECT)), is_single).otherwise(F.lit(True))


def _line_options(source: Source) -> dict[str, str]:
    # Options that say how the files are found and split, not how a line is parsed.
    return {
        key: value for key, value in source.options.items() if key in ("lineSep", "encoding", "recursiveFileLookup")
    }


def _rows(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    # A reader looks at the session's zone only when it reads; see mapping_rules.
    reader = spark.read.format(source.format).options(**{"timeZone": source.time_zone} | source.options)
    if source.format == "csv":
        # The header, or the number of fields, of the first file: everything is text until it is mapped.
        ddl = source.ddl or reader.load(paths).schema.toDDL()
        reader = reader.option("columnNameOfCorruptRecord", _CORRUPT).schema(f"{ddl}, {_CORRUPT} string")
        # A file whose header has another order must not have its columns swapped in silence.
        reader = reader.option("enforceSchema", source.options.get("enforceSchema", "false"))
    elif source.ddl:
        reader = reader.schema(source.ddl)
    rows = reader.load(paths)
    broken = F.col(_CORRUPT).isNotNull() if source.format == "csv" else F.lit(False)
    columns = [column for column in rows.columns if column != _CORRUPT]
    as_json = F.to_json(F.struct(*[F.col(f"`{column}`") for column in columns]))
    received = F.coalesce(F.col(_CORRUPT), as_json) if source.format == "csv" else as_json
    record = received.cast("binary").alias(RECORD)
    return rows.select(*[f"`{column}`" for column in columns], _path(), record, broken.alias(IS_UNREADABLE))


def _several(records: DataFrame, source: Source) -> DataFrame:
    """source.rows applied; an unreadable record stays one row."""
    try:
        readable = records.where(~F.col(IS_UNREADABLE)).selectExpr("*", source.rows)
    except AnalysisException as error:
        raise ConfigurationError(f"source.rows {source.rows!r} does not fit the log: {error.getMessage()}") from error
    return readable.unionByName(records.where(IS_UNREADABLE), allowMissingColumns=True)


def _path() -> Column:
    """As Hadoop lists it: without percent signs, and file:/ with one stroke."""
    decoded = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(decoded, "^file:/+", "file:/").alias(PATH)
