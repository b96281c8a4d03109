"""What is known of items and users from which day on.

A source with valid_from tells it by itself, also of the past, and is the whole truth: the table holds what one build
of today's source gives, whatever stood there before. A source without it tells what holds now, and a change holds
from the day on which it was first seen.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Columns
from nextaisle.contract.tables import Table
from nextaisle.mapped import SINCE_EVER, read_mapped

VALID_FROM: Final = "valid_from"


def read_states(
    spark: SparkSession, source: Columns, section: str, table: Table, attributes: tuple[str, ...], zone: str
) -> DataFrame:
    """(key of `table`, valid_from if it is mapped, attributes): one row per state.

    A state without a day holds since ever. Of several rows for one state the one with the greatest attributes counts:
    any rule will do that a repetition keeps.
    """
    key = table.key[0]
    types = {column.name: column.type for column in table.columns if column.name in (key, VALID_FROM, *attributes)}
    mapped = read_mapped(spark, source, section, types, (key,), zone)
    if VALID_FROM not in source.columns:
        newest = F.max(F.struct(*attributes)).alias("state")
        return mapped.groupBy(key).agg(newest).select(key, "state.*")
    since = F.greatest(F.coalesce(VALID_FROM, F.lit(SINCE_EVER)), F.lit(SINCE_EVER)).alias("since")
    # Of those before 1970, the last.
    newest = F.max(F.struct(VALID_FROM, *attributes)).alias("state")
    states = mapped.groupBy(key, since).agg(newest)
    return states.select(key, F.col("since").alias(VALID_FROM), *(F.col(f"state.{name}") for name in attributes))


def changed_states(
    source: DataFrame, stored: DataFrame, key: str, attributes: Sequence[str], through: date
) -> DataFrame:
    """(key, valid_from, attributes) to merge into `stored`: of all that `source` knows, as of `through`.

    What a dated source says of days after `through` waits for them. Each key has a row since ever, be it of nulls.
    """
    columns = [key, VALID_FROM, *attributes]
    if VALID_FROM in source.columns:
        keys, known = source.select(key).distinct(), stored.select(key, VALID_FROM)
        days = source.where(F.col(VALID_FROM) <= F.lit(through)).select(key, VALID_FROM)
        days = days.unionByName(known.join(keys, key, "left_semi"))
        days = days.unionByName(keys.withColumn(VALID_FROM, F.lit(SINCE_EVER))).distinct()
        return told_by(source, days, key, attributes).select(*columns)
    first = source.join(stored.select(key), key, "left_anti").withColumn(VALID_FROM, F.lit(SINCE_EVER))
    return first.select(*columns).unionByName(_changes(source, stored, key, attributes, through))


def told_by(source: DataFrame, days: DataFrame, key: str, attributes: Sequence[str]) -> DataFrame:
    """`days` (key, valid_from) with what a dated source says of these days; null before its first.

    | source: key, valid_from, brand |      | days: key, valid_from | brand |
    |--------------------------------|      |-----------------------|-------|
    | a  2024-01-05  x               |      | a  1970-01-01         | null  |
    | a  2024-01-09  y               |  ->  | a  2024-01-07         | x     |
    |                                |      | a  2024-01-09         | y     |
    """
    states = F.sort_array(F.collect_list(F.struct(VALID_FROM, *attributes))).alias("states")
    held = F.filter("states", lambda state: state[VALID_FROM] <= F.col(VALID_FROM))
    joined = days.join(source.groupBy(key).agg(states), key, "left")
    return joined.withColumn("held", F.try_element_at(held, F.lit(-1))).select(*days.columns, *_parts(attributes))


def _changes(source: DataFrame, stored: DataFrame, key: str, attributes: Sequence[str], through: date) -> DataFrame:
    held = F.max_by(F.struct(*attributes), VALID_FROM).alias("held")
    current = stored.where(F.col(VALID_FROM) <= F.lit(through)).groupBy(key).agg(held)
    changed = source.join(current, key).where(~F.struct(*attributes).eqNullSafe(F.col("held")))
    return changed.withColumn(VALID_FROM, F.lit(through)).select(key, VALID_FROM, *attributes)


def _parts(attributes: Sequence[str]) -> list[Column]:
    return [F.col("held")[name].alias(name) for name in attributes]
