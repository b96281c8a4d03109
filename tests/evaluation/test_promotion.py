from dataclasses import dataclass, field

import pytest
from pyspark.sql import SparkSession

from nextaisle.config import Promotion
from nextaisle.evaluation.means import Mean
from nextaisle.evaluation.promotion import Comparison, Verdict, compare, decide, find_rival, note_rival, settle
from nextaisle.tracking import ModelVersion

RULE = Promotion(metric="ndcg_at_10", tolerance=0.02)


@dataclass
class Registry:
    """Stands in for a Tracker: the alias and the notes, in memory. Run r has the version v-r."""

    holder: str | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def champion(self) -> ModelVersion | None:
        return ModelVersion(f"v-{self.holder}", self.holder) if self.holder else None

    def noted(self, run_id: str, tag: str) -> str | None:
        return self.notes.get(f"{run_id} {tag}")

    def note(self, run_id: str, tag: str, value: str) -> None:
        self.notes[f"{run_id} {tag}"] = value

    def register(self, run_id: str, path: str) -> str:
        return f"v-{run_id}"

    def promote(self, version: str) -> None:
        self.holder = version.removeprefix("v-")


def judged_night(registry: Registry, run_id: str, is_promoted: bool) -> str | None:
    rival = find_rival(registry, run_id)  # type: ignore[arg-type]
    note_rival(registry, run_id, rival)  # type: ignore[arg-type]
    settle(registry, run_id, rival, Verdict(is_promoted, ""))  # type: ignore[arg-type]
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


def test_the_first_model_becomes_champion_and_the_night_again_judges_it_against_nobody() -> None:
    registry = Registry()
    assert [judged_night(registry, "first", True), judged_night(registry, "first", True)] == [None, None]
    assert registry.holder == "first"


def test_a_repeated_night_is_judged_against_the_champion_of_its_first_time() -> None:
    registry = Registry(holder="old")
    assert [judged_night(registry, "new", True), judged_night(registry, "new", True)] == ["old", "old"]
    assert registry.holder == "new"


def test_a_worse_candidate_leaves_the_alias_where_it_is() -> None:
    registry = Registry(holder="old")
    judged_night(registry, "new", False)
    assert registry.holder == "old"


def test_an_earlier_night_repeated_does_not_take_the_alias_from_a_later_one() -> None:
    registry = Registry()
    judged_night(registry, "first", True)
    judged_night(registry, "second", True)
    judged_night(registry, "first", True)
    assert registry.holder == "second"
