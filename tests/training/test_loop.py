"""That it learns what can be learned, and nothing else."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nextaisle.feed.batches import cut_in_order
from nextaisle.feed.reader import Feed, Shard, read_windows
from nextaisle.feed.windows import join
from nextaisle.model import load_model
from nextaisle.training import loop
from nextaisle.training.epoch import run_epoch
from nextaisle.training.loop import train
from nextaisle.training.plan import Epoch, Plan
from nextaisle.training.progress import Progress
from nextaisle.training.step import Step
from nextaisle.training.validation import Validation, ranks

MakePlan = Callable[..., Plan]
STORED_CURVE = Path(__file__).parents[1] / "data" / "loss_curve.json"


def hit_rate_at_1(plan: Plan) -> float:
    """Over every target of the plan's validation windows, from the weights that were kept."""
    model = load_model(plan.folder)
    if plan.validation is None:
        raise ValueError("nothing to judge")
    windows = join(list(read_windows(plan.validation, Shard(0, 1), seed=1)))
    batch = next(cut_in_order(windows, 1 << 20, plan.spec.encoded_length))
    with torch.no_grad():
        return float((ranks(model, batch, model.item_vectors()) == 1).float().mean())


@pytest.mark.parametrize("name", ["lstm", "lstm_attention", "transformer"])
def test_a_model_reaches_nine_tenths_of_what_chains_allow(make_plan: MakePlan, name: str) -> None:
    plan = make_plan(name, predictability=0.8)
    train(plan)
    assert hit_rate_at_1(plan) >= 0.9 * (0.8 + 0.2 / 50)


def test_full_cross_entropy_learns_the_same(make_plan: MakePlan) -> None:
    plan = make_plan("lstm", predictability=0.8, loss="cross_entropy")
    train(plan)
    assert hit_rate_at_1(plan) >= 0.9 * (0.8 + 0.2 / 50)


def test_nothing_is_learned_where_there_is_nothing_to_learn(make_plan: MakePlan) -> None:
    plan = make_plan("transformer", predictability=0.0, max_epochs=5)
    train(plan)
    # 2,000 targets: three standard deviations above chance.
    assert hit_rate_at_1(plan) < 0.02 + 3 * math.sqrt(0.02 * 0.98 / 2000)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(make_plan: MakePlan) -> None:
    weights = []
    for seed in (1, 1, 2):
        plan = make_plan("transformer", max_epochs=2, seed=seed)
        train(plan)
        weights.append(load_model(plan.folder).item.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best_epoch(make_plan: MakePlan) -> None:
    plan = make_plan("lstm", predictability=0.0, max_epochs=30, patience=2)
    report = train(plan)
    gains = [epoch.ndcg_at_10 for epoch in report.history]
    assert len(gains) == report.best_epoch + 2 < 30
    assert gains[report.best_epoch - 1] == max(gains)
    assert json.loads((plan.folder / "history.json").read_text())["best_epoch"] == report.best_epoch


def test_weights_that_are_no_numbers_are_neither_judged_good_nor_kept(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(
        epoch: int, step: Step, feed: Feed, validation: Validation | None, shard: Shard, progress: Progress
    ) -> Epoch:
        if epoch == 3:
            for parameter in step.model.parameters():
                parameter.data.fill_(math.nan)
        return run_epoch(epoch, step, feed, validation, shard, progress)

    monkeypatch.setattr(loop, "run_epoch", poisoned)
    plan = make_plan("lstm", max_epochs=5)
    report = train(plan)
    assert [epoch.is_finite for epoch in report.history] == [True, True, False]
    assert report.best_epoch < 3
    assert report.history[-1].ndcg_at_10 == 0
    assert all(bool(torch.isfinite(weights).all()) for weights in load_model(plan.folder).parameters())


def test_without_validation_every_epoch_is_trained_and_the_last_kept(make_plan: MakePlan) -> None:
    plan = make_plan("lstm", max_epochs=3)
    report = train(Plan(**{**vars(plan), "validation": None}))
    assert (len(report.history), report.best_epoch) == (3, 3)


def test_the_loss_falls_as_it_did_when_the_curve_was_stored(make_plan: MakePlan) -> None:
    # Loosely: libraries round differently, but a loss that falls otherwise is another training.
    curve = [epoch.train_loss for epoch in train(make_plan("transformer", max_epochs=8)).history]
    assert curve == pytest.approx(json.loads(STORED_CURVE.read_text()), rel=0.05)
