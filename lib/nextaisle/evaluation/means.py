"""From users' results to the tables: means over cases with intervals, and the rows of evaluation_cases."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.contract.tables import EVALUATION_CASES, EVALUATIONS
from nextaisle.evaluation.metrics import metric_names
from nextaisle.spark import local_rows

SPLIT = "test"
SEGMENT = "all"
_NORMAL_95 = 1.959963984540054
# Sums of doubles depend in their last digits on the order in which tasks end; the tables must not.
_DIGITS = 9


@dataclass(frozen=True)
class Judged:
    """What was judged, and how: what makes a row of the tables beside the numbers."""

    run_id: str
    protocol: str
    ks: tuple[int, ...]


@dataclass(frozen=True)
class Mean:
    """The mean over cases, the ends of its 95 % interval, and the number of cases."""

    value: float
    low: float
    high: float
    cases: int


def mean_of_cases(value: Column, cases: Column) -> Column:
    """struct(value, low, high, cases) over rows that are users: the mean of all their cases.

    With n_u cases of user u, whose mean is v_u, it is R = sum n_u v_u / sum n_u. Users are independent, cases of one
    user are not: each is one cluster, and the interval is the ratio estimator's (Cochran 1977, 2.11 and 9A):
    R +- 1.96 sqrt(U / (U - 1) sum n_u^2 (v_u - R)^2) / sum n_u. For a single user it is R alone.
    """
    weight = cases.cast("double")
    total, users = F.sum(weight), F.count("*").cast("double")
    mean = F.sum(weight * value) / total
    squares = F.sum(weight**2 * value**2) - 2 * mean * F.sum(weight**2 * value) + mean**2 * F.sum(weight**2)
    spread = F.greatest(squares, F.lit(0.0)) * F.coalesce(users / F.nullif(users - 1, F.lit(0.0)), F.lit(0.0))
    half = _NORMAL_95 * F.sqrt(spread) / total
    ends = {"value": mean, "low": mean - half, "high": mean + half}
    rounded = [F.round(end, _DIGITS).alias(name) for name, end in ends.items()]
    return F.struct(*rounded, F.sum(cases).alias("cases"))


def collect_means(judged: DataFrame, names: Sequence[str]) -> dict[str, dict[str, Mean]]:
    """{model: {name: Mean}} of all that stands in `values`: a few hundred numbers, however many users."""
    values = judged.select("model", "cases", F.posexplode("values").alias("place", "value"))
    means = values.groupBy("model", "place").agg(mean_of_cases(F.col("value"), F.col("cases")).alias("mean"))
    found: dict[str, dict[str, Mean]] = {}
    for row in means.orderBy("model", "place").collect():
        found.setdefault(row["model"], {})[names[row["place"]]] = Mean(*row["mean"])
    return found


def evaluation_rows(spark: SparkSession, means: dict[str, dict[str, Mean]], judged: Judged) -> DataFrame:
    """Rows of evaluations: the metrics at ks, and recall at every rank."""
    rows = [
        (judged.run_id, model, judged.protocol, SPLIT, SEGMENT, name, mean.value, mean.low, mean.high, mean.cases)
        for model, values in means.items()
        for name, mean in values.items()
        if "_at_" in name
    ]
    return local_rows(spark, rows, EVALUATIONS.schema)


def case_rows(judged_users: DataFrame, judged: Judged) -> DataFrame:
    """Rows of evaluation_cases."""
    names = metric_names(judged.ks)
    keys = F.array(*(F.lit(name) for name in names))
    return judged_users.select(
        F.lit(judged.run_id).alias("run_id"),
        "model",
        F.lit(judged.protocol).alias("protocol"),
        F.lit(SPLIT).alias("split"),
        "user_id",
        "cases",
        F.map_from_arrays(keys, F.slice("values", 1, len(names))).alias("metrics"),
    ).select(*EVALUATION_CASES.names)
