"""What the shop knows of its items, read as the configuration maps it."""

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Items, absolute
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.contract.tables import ITEMS
from nextaisle.spark import mapping_rules

ATTRIBUTES = ("title", "department", "category", "brand", "product_type", "price", "image")
_TYPES = {column.name: column.type for column in ITEMS.columns}


def read_catalogue(spark: SparkSession, source: Items) -> DataFrame:
    """item_id and every attribute, one row per item; attributes that are not mapped are null. No path: no rows.

    Of several rows for one item the one with the greatest attributes counts: any rule will do that a repetition keeps.

    Raises:
        InputError: nothing is there, or it cannot be read.
        ConfigurationError: an expression names a column that the catalogue lacks.
    """
    schema = ", ".join(f"{name} {_TYPES[name]}" for name in ("item_id", *ATTRIBUTES))
    if not source.path:
        return spark.createDataFrame([], schema)
    if "item_id" not in source.columns:
        raise ConfigurationError("[items.columns] has no item_id; say which column of the catalogue holds it")
    with mapping_rules(spark):
        mapped = _mapped(_read(spark, source), source)
    newest = F.max(F.struct(*ATTRIBUTES)).alias("attributes")
    one_per_item = mapped.where(F.col("item_id").isNotNull()).groupBy("item_id").agg(newest)
    return one_per_item.select("item_id", "attributes.*")


def catalogue_state(spark: SparkSession, source: Items) -> str:
    """A string that changes when the catalogue's contents do."""
    rows = read_catalogue(spark, source)
    total = F.sum(F.xxhash64("item_id", *ATTRIBUTES).cast("decimal(38,0)"))
    return str(rows.agg(F.count("*"), total).first())


def _read(spark: SparkSession, source: Items) -> DataFrame:
    reader = spark.read.format(source.format).options(**source.options)
    if source.ddl:
        reader = reader.schema(source.ddl)
    path = absolute(source.path)
    try:
        return reader.load(path)
    except AnalysisException as error:
        raise InputError(f"[items] path {path} cannot be read as {source.format}: {error.getMessage()}") from error


def _mapped(rows: DataFrame, source: Items) -> DataFrame:
    for name, expression in source.columns.items():
        try:
            rows.select(F.expr(expression))
        except AnalysisException as error:
            raise ConfigurationError(
                f"[items.columns] {name} = {expression!r}: {_first_line(error)}; the catalogue has {rows.columns}"
            ) from error
    return rows.select(*(_column(name, source).alias(name) for name in ("item_id", *ATTRIBUTES)))


def _column(name: str, source: Items) -> Column:
    """The mapped expression in the table's type; a value that does not fit is unknown, as is an empty text."""
    expression = source.columns.get(name)
    value = F.expr(expression) if expression else F.lit(None)
    if _TYPES[name] == "string":
        value = F.nullif(F.trim(value.cast("string")), F.lit(""))
    return value.try_cast(_TYPES[name])


def _first_line(error: AnalysisException) -> str:
    return (error.getMessage() or str(error)).splitlines()[0]
