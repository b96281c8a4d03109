"""Suites to outcomes: all of them in one Spark job, then one more per suite in which a row failed, to name it.

Deequ's scan sharing: whatever one row can tell is counted in one aggregate per table and day. Great Expectations asks
a job per expectation, and brings failed rows to the driver before it cuts them to a sample (its issues 3303 and 7608);
here only counts come, and of the failed rows the first few keys.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession

from nextaisle.quality.expectations import Expectation, Suite
from nextaisle.quality.outcomes import FAILED, PASSED, Outcome


@dataclass(frozen=True)
class Measured:
    """What suites are measured on: tables by name, the values behind :name, and how many failed rows to name."""

    frames: Mapping[str, DataFrame]
    values: Mapping[str, Any]
    sample_rows: int


def measure(spark: SparkSession, suites: Sequence[Suite], on: Measured) -> list[Outcome]:
    """An outcome per expectation and day that has rows; suites of which a table is not there are left out."""
    known = [suite for suite in suites if suite.expectations and suite.reads <= set(on.frames)]
    if not known:
        return []
    counted = [_counted(spark, place, suite, on) for place, suite in enumerate(known)]
    rows = functools.reduce(DataFrame.unionAll, counted).collect()
    samples = {
        place: _samples(spark, known[place], on) for place in sorted({row["place"] for row in rows if _fails(row)})
    }
    return [outcome for row in rows for outcome in _outcomes(known[row["place"]], row, samples.get(row["place"], {}))]


def _counted(spark: SparkSession, place: int, suite: Suite, on: Measured) -> DataFrame:
    """(place, day, row_count, failed_counts): an entry of failed_counts per expectation."""
    failed = ", ".join(f"count_if({_fails_sql(expectation)})" for expectation in suite.expectations)
    query = f"""
    select {place} as place, day, count(*) as row_count, array({failed}) as failed_counts
    from ({suite.counted or suite.rows}) where day between :first and :last group by day
    """
    return _sql(spark, query, suite, on)


def _samples(spark: SparkSession, suite: Suite, on: Measured) -> dict[tuple[date, int], tuple[str, ...]]:
    """The first keys of failed rows, by day and place of the expectation. Spark keeps no more than these per task."""
    failed = ", ".join(_fails_sql(expectation) for expectation in suite.expectations)
    key = ", ', ', ".join(f"'{name}=', coalesce(cast({name} as string), 'null')" for name in suite.key)
    query = f"""
    select day, place, key from (
      select day, place, key, row_number() over (partition by day, place order by key) as number
      from (
        select day, concat({key}) as key, posexplode(array({failed})) as (place, has_failed)
        from ({suite.rows}) where day between :first and :last
      ) where has_failed
    ) where number <= :sample_rows
    """
    found: dict[tuple[date, int], tuple[str, ...]] = {}
    for row in sorted(_sql(spark, query, suite, on).collect()):
        found[row["day"], row["place"]] = (*found.get((row["day"], row["place"]), ()), row["key"])
    return found


def _sql(spark: SparkSession, query: str, suite: Suite, on: Measured) -> DataFrame:
    values = {**on.values, "sample_rows": on.sample_rows}
    return spark.sql(query, args=values, **{name: on.frames[name] for name in suite.reads})


def _fails_sql(expectation: Expectation) -> str:
    return f"not coalesce({expectation.holds}, false)"


def _fails(row: Row) -> bool:
    return any(row["failed_counts"])


def _outcomes(suite: Suite, row: Row, samples: Mapping[tuple[date, int], tuple[str, ...]]) -> list[Outcome]:
    return [
        Outcome(
            table=suite.table.name,
            check=expectation.name,
            day=row["day"],
            value=failed,
            expected=expectation.holds,
            row_count=row["row_count"],
            severity=expectation.severity,
            outcome=FAILED if failed else PASSED,
            sample=samples.get((row["day"], place), ()),
        )
        for place, (expectation, failed) in enumerate(zip(suite.expectations, row["failed_counts"], strict=True))
    ]
