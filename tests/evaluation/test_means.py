from math import sqrt

import pytest
from pyspark.sql import DataFrame, SparkSession

from nextaisle.evaluation.means import Judged, Mean, case_rows, collect_means, evaluation_rows
from nextaisle.evaluation.metrics import metric_names

JUDGED = Judged("run", "time-next", (5,))
NAMES = [*metric_names((5,)), "recall_at_1", "listed_share_1"]


def users(spark: SparkSession, *rows: tuple[str, str, int, float]) -> DataFrame:
    """(user, model, cases, value): every value of `values` is the same."""
    full = [(user, model, cases, [value] * len(NAMES), [1]) for user, model, cases, value in rows]
    schema = "user_id string, model string, cases bigint, values array<double>, item_indices array<int>"
    return spark.createDataFrame(full, schema)


def test_the_mean_is_over_cases_and_the_interval_takes_a_user_as_one_cluster(spark: SparkSession) -> None:
    judged = users(spark, ("u", "popular", 1, 1.0), ("v", "popular", 3, 0.0))
    mean = collect_means(judged, NAMES)["popular"]["ndcg_at_5"]
    # R = 1/4; squares 1 (3/4)^2 + 9 (1/4)^2 = 9/8; times U / (U - 1) = 2
    half = 1.959963984540054 * sqrt(2 * 9 / 8) / 4
    assert (mean.value, mean.cases) == (0.25, 4)
    assert (mean.low, mean.high) == pytest.approx((0.25 - half, 0.25 + half), abs=1e-8)


def test_of_a_single_user_the_interval_is_the_value(spark: SparkSession) -> None:
    assert collect_means(users(spark, ("u", "popular", 2, 0.5)), NAMES)["popular"]["hr_at_5"] == Mean(0.5, 0.5, 0.5, 2)


def test_evaluations_hold_metrics_and_the_recall_curve_but_no_shares(spark: SparkSession) -> None:
    means = collect_means(users(spark, ("u", "markov", 2, 0.5)), NAMES)
    rows = evaluation_rows(spark, means, JUDGED).collect()
    assert {row["metric"] for row in rows} == {*metric_names((5,)), "recall_at_1"}
    assert {(row["run_id"], row["model"], row["protocol"], row["split"], row["segment"]) for row in rows} == {
        ("run", "markov", "time-next", "test", "all")
    }


def test_cases_keep_each_user_s_metrics_by_name(spark: SparkSession) -> None:
    row = case_rows(users(spark, ("u", "markov", 2, 0.5)), JUDGED).collect()[0]
    assert (row["user_id"], row["cases"], row["metrics"]) == ("u", 2, dict.fromkeys(metric_names((5,)), 0.5))
