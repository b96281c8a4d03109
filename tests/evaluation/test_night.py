from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import torch
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs import evaluate_model
from nextaisle.config import Settings
from nextaisle.contract.tables import EVALUATION_CASES, EVALUATIONS, ITEMS, JOB_RUNS, SESSIONS
from nextaisle.contract.vocabulary import vocabulary_hash
from nextaisle.job import Outcome, execute
from nextaisle.model import ModelSpec, NextItemModel, save_model
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker
from tests.evaluation.rows import at, items, sessions

DAY = date(2024, 1, 31)
ITEM_IDS = ("a", "b", "c", "d")
BASELINES = {"popular", "popular_7_days", "own_frequent", "markov", "item_knn"}


class Shop:
    """A small shop, whose users bought c in the test days, and models of it that always recommend one item."""

    def __init__(self, spark: SparkSession, store: Store, settings: Settings, folder: Path) -> None:
        self.spark, self.store, self.settings, self.folder = spark, store, settings, folder
        self.tracker = Tracker(settings.tracking)
        visits = sessions(
            spark, ("u", at(2), ["a", "b"]), ("u", at(26), ["c"]), ("v", at(3), ["a", "b", "c"]), ("v", at(27), ["c"]),
            ("w", at(28), ["c"]),
        )  # fmt: skip
        store.replace_days(SESSIONS, visits, date(2024, 1, 1), DAY)
        store.merge(ITEMS, items(spark, *ITEM_IDS))

    def train(self, best_item: int, minute: int, vocabulary: str = "", as_of: date = DAY) -> str:
        """What train_model leaves behind: a finished run with a model, and a row of job_runs."""
        known = vocabulary or vocabulary_hash(self.store.fresh().read(ITEMS), len(ITEM_IDS))
        spec = ModelSpec("lstm", 4, 1, 1, 0.0, 10, len(ITEM_IDS), vocabulary_hash=known)
        torch.manual_seed(1)
        model = NextItemModel(spec)
        with torch.no_grad():
            model.item_bias[best_item] = 100.0
        save_model(model, self.folder / str(minute) / "evaluated")
        run_id = self.tracker.start("lstm", {"as_of_date": str(as_of)})
        self.tracker.log_folder(run_id, self.folder / str(minute), "model")
        self.tracker.register(run_id, "model")
        self.tracker.finish(run_id, "FINISHED")
        row = Row(
            run_id=run_id, job="train_model", first_date=DAY, last_date=DAY, job_key="", rules_key="",
            outcome="done", reason=None,
            versions_read={}, versions_written={}, rows={}, bytes_written=0, tracking_run_id=run_id,
            started_time=datetime(2024, 2, 1, 1, minute, tzinfo=UTC), seconds=1.0,
            run_number=minute, table_ids={}, bytes_read=None,
        )  # fmt: skip
        self.store.append(JOB_RUNS, self.spark.createDataFrame([row], JOB_RUNS.schema))
        return run_id

    def evaluate(self) -> Outcome:
        return execute(evaluate_model.JOB, self.settings, self.spark, DAY, DAY)

    def values(self, run_id: str, metric: str) -> Mapping[str, float]:
        rows = self.store.fresh().read(EVALUATIONS).where((F.col("run_id") == run_id) & (F.col("metric") == metric))
        return {row["model"]: row["value"] for row in rows.collect()}

    def champion(self) -> str:
        found = Tracker(self.settings.tracking).champion()
        return found.run_id if found else ""


@pytest.fixture
def shop(spark: SparkSession, store: Store, settings: Settings, tmp_path: Path) -> Shop:
    return Shop(spark, store, settings, tmp_path / "models")


def test_a_model_is_judged_beside_the_baselines_and_the_better_one_is_champion(shop: Shop) -> None:
    first = shop.train(best_item=3, minute=1)
    outcome = shop.evaluate()
    assert (outcome.outcome, outcome.tracking_run_id, outcome.rows["cases"]) == ("done", first, 3), outcome.reason
    values = shop.values(first, "mrr_at_5")
    assert set(values) == BASELINES | {"candidate"}
    assert values["candidate"] == pytest.approx((1 + 1 + 1 / 3) / 3)  # w has no history: a, b, c are popular
    assert shop.champion() == first
    run = shop.tracker._client.get_run(first).data.metrics
    assert run["test/mrr_at_5"] == pytest.approx(values["candidate"])
    assert run["popular/mrr_at_5"] == pytest.approx(1 / 3)
    logged = {file.path for file in shop.tracker._client.list_artifacts(first, "pictures")}
    assert logged == {"pictures/recall_against_k.png", "pictures/popularity.png"}
    sample = (shop.tracker.download(first, "evaluation") / "recommendations.md").read_text()
    assert "* recommended: **C**" in sample

    assert shop.evaluate().outcome == "unchanged"

    worse = shop.train(best_item=1, minute=2)
    assert shop.evaluate().tracking_run_id == worse
    assert shop.values(worse, "mrr_at_5")["champion"] == pytest.approx(values["candidate"])
    assert shop.values(worse, "mrr_at_5")["candidate"] < values["candidate"]
    assert shop.champion() == first
    cases = shop.store.fresh().read(EVALUATION_CASES).where(F.col("run_id") == worse)
    assert cases.where("model = 'candidate'").select(F.sum("cases")).collect()[0][0] == 3


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["vocabulary", "version"])
def test_a_champion_that_cannot_be_judged_gives_way(shop: Shop, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        if fault == "version":
            earlier.setattr(ModelSpec, "to_json", lambda spec: {**vars(spec), "version": 1})
        old = shop.train(best_item=3, minute=1, vocabulary="another" if fault == "vocabulary" else "")
    shop.tracker.promote(shop.tracker.register(old, "model"))
    new = shop.train(best_item=4, minute=2)
    assert shop.evaluate().outcome == "done"
    assert set(shop.values(new, "hr_at_5")) == BASELINES | {"candidate"}
    assert shop.champion() == new


@pytest.mark.slow
def test_an_old_days_model_neither_beats_nor_replaces_one_that_knows_later_days(shop: Shop) -> None:
    later = shop.train(best_item=1, minute=1, as_of=date(2024, 2, 1))
    shop.tracker.promote(shop.tracker.register(later, "model"))
    old = shop.train(best_item=3, minute=2)
    assert shop.evaluate().rows["promoted"] == 0
    assert set(shop.values(old, "hr_at_5")) == BASELINES | {"candidate"}
    assert shop.champion() == later


def test_a_candidate_with_another_vocabulary_is_refused(shop: Shop) -> None:
    shop.train(best_item=3, minute=1, vocabulary="another")
    outcome = shop.evaluate()
    assert (outcome.exit_code, shop.champion()) == (4, "")
    assert "run train_model again" in outcome.reason


def test_without_a_trained_model_the_reason_says_what_to_run(shop: Shop) -> None:
    outcome = shop.evaluate()
    assert (outcome.exit_code, outcome.reason) == (
        3,
        "no model was trained for 2024-01-31; run train_model --date 2024-01-31 first",
    )
