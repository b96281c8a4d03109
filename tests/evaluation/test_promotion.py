from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nextaisle import overlays
from nextaisle.config import Promotion
from nextaisle.contract.runs import MODEL_PATH
from nextaisle.evaluation.means import Mean
from nextaisle.evaluation.promotion import Comparison, Verdict, compare, decide, find_rival, note_rival, settle
from nextaisle.tracking import Tracker

RULE = Promotion(metric="ndcg_at_10", tolerance=0.02)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests here, since MLflow needs seconds to make it; each has its own experiment and model."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def tracker(database: Path, request: pytest.FixtureRequest) -> Tracker:
    name = request.node.name
    places = {"uri": f"sqlite:///{database}/mlflow.db", "artifacts": f"{database}/artifacts"}
    return Tracker(overlays.load().tracking.model_copy(update={**places, "experiment": name, "model_name": name}))


def trained(tracker: Tracker) -> str:
    return tracker.start("lstm", {})


def champion(tracker: Tracker) -> str:
    """The run of a model that serves already."""
    run_id = trained(tracker)
    tracker.promote(tracker.register(run_id, MODEL_PATH))
    return run_id


def holder(tracker: Tracker) -> str | None:
    found = tracker.champion()
    return found.run_id if found else None


def judged_night(tracker: Tracker, run_id: str, is_promoted: bool) -> str | None:
    rival = find_rival(tracker, run_id)
    note_rival(tracker, run_id, rival)
    settle(tracker, run_id, rival, Verdict(is_promoted, ""))
    return rival


@pytest.mark.parametrize(
    ("candidate", "champion", "is_promoted"),
    [(0.098, 0.1, True), (0.0979, 0.1, False), (0.2, 0.1, True), (0.0, 0.0, True), (0.0, 0.1, False)],
)
def test_a_candidate_is_promoted_unless_worse_by_more_than_the_tolerance(
    candidate: float, champion: float, is_promoted: bool
) -> None:
    comparison = Comparison(candidate, champion, Mean(candidate - champion, -1.0, 1.0, 9))
    assert decide(comparison, "rival", RULE).is_promoted is is_promoted


def test_without_a_champion_or_with_one_that_cannot_be_judged_the_candidate_is_promoted() -> None:
    assert decide(None, None, RULE).reason == "there was no champion"
    verdict = decide(None, "rival", RULE)
    assert verdict.is_promoted
    assert "rival" in verdict.reason


def test_the_comparison_is_paired_by_user_and_weighs_users_by_their_cases(spark: SparkSession) -> None:
    rows = [
        ("u", "candidate", 1, [0.0, 0.9]), ("u", "champion", 1, [0.0, 0.5]),
        ("v", "candidate", 3, [0.0, 0.1]), ("v", "champion", 3, [0.0, 0.1]), ("v", "popular", 3, [0.0, 0.7]),
    ]  # fmt: skip
    judged = spark.createDataFrame(rows, "user_id string, model string, cases bigint, values array<double>")
    found = compare(judged, 1)
    assert found is not None
    assert (found.candidate, found.champion, found.difference.value) == pytest.approx((0.3, 0.2, 0.1))
    assert compare(judged.where("model != 'champion'"), 1) is None


def test_the_first_model_becomes_champion_and_the_night_again_judges_it_against_nobody(tracker: Tracker) -> None:
    first = trained(tracker)
    assert [judged_night(tracker, first, True), judged_night(tracker, first, True)] == [None, None]
    assert holder(tracker) == first


def test_a_repeated_night_is_judged_against_the_champion_of_its_first_time(tracker: Tracker) -> None:
    old, new = champion(tracker), trained(tracker)
    assert [judged_night(tracker, new, True), judged_night(tracker, new, True)] == [old, old]
    assert holder(tracker) == new


def test_a_worse_candidate_leaves_the_alias_where_it_is(tracker: Tracker) -> None:
    old = champion(tracker)
    judged_night(tracker, trained(tracker), False)
    assert holder(tracker) == old


def test_an_earlier_night_repeated_does_not_take_the_alias_from_a_later_one(tracker: Tracker) -> None:
    first, second = trained(tracker), trained(tracker)
    judged_night(tracker, first, True)
    judged_night(tracker, second, True)
    judged_night(tracker, first, True)
    assert holder(tracker) == second
