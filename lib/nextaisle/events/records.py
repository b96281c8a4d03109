"""Files to records: what each held, its bytes as received, and whether it could be read at all."""

from collections.abc import Sequence
from typing import Final

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Source
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.events.files import SourceFile
from nextaisle.events.texts import is_true, is_zstd, read_texts
from nextaisle.spark import literally

# Columns of ours beside the log's own.
OURS: Final = "_nextaisle"
PATH: Final = "_nextaisle_path"
RECORD: Final = "_nextaisle_record"
IS_UNREADABLE: Final = "_nextaisle_is_unreadable"
# What a refused record is read again by, see rereading.py; as in the table rejected_events.
RECORD_SCHEMA: Final = "_nextaisle_record_schema"
ROW: Final = "_nextaisle_row"
ROW_SCHEMA: Final = "_nextaisle_row_schema"
CORRUPT: Final = "_corrupt_record"
# Formats whose records are lines, and are kept as they are.
LINE_FORMATS: Final = ("json", "text")
# JSON as it is kept: to the microsecond, whatever the session's time zone.
JSON_OPTIONS: Final = {
    "timeZone": "UTC",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
_LINE: Final = "_nextaisle_line"
_BLANKS: Final = " \t\r\n"
# Within an object there follow on a bracket, as a rule, other closing ones, or a comma and a key, a number or a list.
_MAY_BE_MORE: Final = r"[}\]]\s*(,\s*[^\s\"\d\[-]|[^\s,\]}])"


def read_records(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> DataFrame:
    """One row per record of `files`, after source.rows: the log's columns, and ours.

    An unreadable record is one row of nulls. Lines of JSON and text keep their bytes; of other formats, which have no
    lines, a record is kept as the JSON of its columns.

    Raises:
        ConfigurationError: JSON without a schema, or source.rows that does not fit the columns.
        InputError: a file is packed in a way that its format cannot be read in.
    """
    paths = [literally(file.path) for file in files]
    records = _lines(spark, source, paths) if source.format in LINE_FORMATS else _rows(spark, source, paths)
    return several(records, source)


def _lines(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    lines = read_texts(spark, source, paths)
    record, schema = F.col("value").cast("binary").alias(RECORD), F.lit(None).cast("string").alias(RECORD_SCHEMA)
    return parse_lines(lines.select("value", _path(F.col("path")), record, schema), source)


def parse_lines(lines: DataFrame, source: Source) -> DataFrame:
    """Lines in the column `value` to columns of the log; columns of ours stay.

    Raises:
        ConfigurationError: JSON without a schema.
    """
    ours = [name for name in lines.columns if name.startswith(OURS)]
    # Invalid UTF-8 in a string column would break plain readers.
    is_text = F.is_valid_utf8("value")
    if source.format == "text":
        marked = lines.withColumn(IS_UNREADABLE, ~is_text)
        return marked.withColumn("value", F.when(~F.col(IS_UNREADABLE), F.col("value")))
    if not source.ddl:
        raise ConfigurationError(
            "source.schema is empty; JSON needs one, as 'user string, item string', see Spark's DDL"
        )
    # The column for corrupt records must be there, else a broken line passes as a row of nulls.
    schema = f"{source.ddl}, {CORRUPT} string"
    options = {**source.options, "columnNameOfCorruptRecord": CORRUPT, "mode": "PERMISSIVE"}
    parsed = lines.where(F.trim("value") != "").select(
        F.from_json("value", schema, options).alias(_LINE), *ours,
        is_text.alias("is_text"), _is_one_object("value").alias("is_one"),
    )  # fmt: skip
    broken = F.col(f"{_LINE}.{CORRUPT}").isNotNull() | F.col(_LINE).isNull() | ~F.col("is_text") | ~F.col("is_one")
    marked = parsed.withColumn(IS_UNREADABLE, F.coalesce(broken, F.lit(True)))
    line = F.when(~F.col(IS_UNREADABLE), F.col(_LINE)).alias(_LINE)
    ours.append(IS_UNREADABLE)
    return marked.select(line, *ours).select(f"{_LINE}.*", *ours).drop(CORRUPT)


def _is_one_object(line: str) -> Column:
    """Whether nothing follows the first object: Spark would drop it in silence.

    Only lines where something odd follows a bracket, or an object another, be it in an array, are parsed a second time.
    """
    # Most are flat: their first closing brace is their end. In bytes, as counting characters takes as long as parsing.
    bytes_but_one = F.substr(F.col(line).cast("binary"), F.lit(1), F.octet_length(line) - 1)
    is_flat = F.endswith(F.col(line), F.lit("}")) & ~F.contains(bytes_but_one.cast("string"), F.lit("}"))
    # As the value of a key, since a bracket of its own could end a list.
    as_value = F.concat(F.lit('[{"":'), F.col(line), F.lit("}]"))
    is_single = F.coalesce(F.json_array_length(as_value) == 1, F.lit(False))
    ends = F.endswith(F.rtrim(F.col(line), F.lit(_BLANKS)), F.lit("}"))
    others = ends & F.when(F.rlike(F.col(line), F.lit(_MAY_BE_MORE)), is_single).otherwise(F.lit(True))
    return F.when(is_flat, F.lit(True)).otherwise(others)


def _rows(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    if packed := [path for path in paths if is_zstd(path)]:
        raise InputError(
            f"{packed[0]} is packed by zstd, which only json and text can be, and not {source.format}; pack it by "
            "gzip or bzip2. Nothing was published"
        )
    # A reader looks at the session's zone only when it reads; see mapping_rules.
    reader = spark.read.format(source.format).options(**{"timeZone": source.time_zone} | source.options)
    if source.format == "csv":
        ddl, is_checked = (source.ddl, False) if source.ddl else _header(reader, paths, is_true(source, "header"))
        reader = reader.option("columnNameOfCorruptRecord", CORRUPT).schema(f"{ddl}, {CORRUPT} string")
        # A file whose header has another order must not have its columns swapped in silence.
        reader = reader.option("enforceSchema", source.options.get("enforceSchema", str(is_checked)))
    elif source.ddl:
        reader = reader.schema(source.ddl)
    rows = reader.load(paths)
    broken = F.col(CORRUPT).isNotNull() if source.format == "csv" else F.lit(False)
    columns = rows.drop(CORRUPT)
    received = (
        F.coalesce(F.col(CORRUPT), as_json(columns.columns)) if source.format == "csv" else as_json(columns.columns)
    )
    # The log may have a column of this name too.
    path = _path(rows.metadataColumn("_metadata")["file_path"])
    return rows.select(
        *quoted(columns.columns), path, received.cast("binary").alias(RECORD),
        F.lit(columns.schema.toDDL()).alias(RECORD_SCHEMA), broken.alias(IS_UNREADABLE),
    )  # fmt: skip


def _header(reader: DataFrameReader, paths: list[str], has_names: bool) -> tuple[str, bool]:
    """The columns of the first file, all texts until they are mapped, and whether all files are known to have them.

    Columns without a name, or with one twice, get names from Spark that it takes for others when it reads the rows.
    They end with the column's place.
    """
    header = reader.load(paths)
    if not header.columns:
        raise InputError(f"{paths[0]} has neither a header nor rows; bring it whole, or an empty file for an empty day")
    is_renamed = has_names and any(name.endswith(str(place)) for place, name in enumerate(header.columns))
    for path in paths if is_renamed else []:
        if (columns := reader.load(path).columns) != header.columns:
            raise InputError(
                f"{path} has the columns {columns}, expected {header.columns} as in other files of the day"
            )
    return header.schema.toDDL(), is_renamed


def as_json(columns: Sequence[str]) -> Column:
    return F.to_json(F.struct(*quoted(columns)), JSON_OPTIONS)


def quoted(columns: Sequence[str]) -> list[str]:
    return [f"`{column.replace('`', '``')}`" for column in columns]


def several(records: DataFrame, source: Source) -> DataFrame:
    """source.rows applied, what it adds kept in ROW; an unreadable record stays one row.

    Raises:
        ConfigurationError: source.rows does not fit the columns.
    """
    nothing = F.lit(None).cast("string")
    unreadable = records.withColumns({ROW: nothing, ROW_SCHEMA: nothing})
    if not source.rows:
        return unreadable
    try:
        rows = records.where(~F.col(IS_UNREADABLE)).selectExpr("*", source.rows)
    except AnalysisException as error:
        raise ConfigurationError(f"source.rows {source.rows!r} does not fit the log: {error.getMessage()}") from error
    added = rows.select(*quoted([name for name in rows.columns if name not in records.columns]))
    kept = {ROW: as_json(added.columns), ROW_SCHEMA: F.lit(added.schema.toDDL())}
    return rows.withColumns(kept).unionByName(unreadable.where(IS_UNREADABLE), allowMissingColumns=True)


def _path(listed: Column) -> Column:
    """Spark's, as Hadoop lists it: without percent signs, and file:/ with one stroke."""
    # Decoding costs as much as reading a line; few paths need it.
    local = "file:///"
    decoded = F.url_decode(F.replace(listed, F.lit("+"), F.lit("%2B")))
    path = F.when(F.contains(listed, F.lit("%")), decoded).otherwise(listed)
    short = F.concat(F.lit("file:/"), F.substr(path, F.lit(len(local) + 1)))
    return F.when(F.startswith(path, F.lit(local)), short).otherwise(path).alias(PATH)
