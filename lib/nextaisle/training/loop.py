"""Trains one lineage, the same on every rank: epochs, early stop, and the best weights kept."""

import json
import time
from collections.abc import Iterator

import numpy as np
import torch

from nextaisle.feed.batches import POOL_BATCHES, Batch, cut_batches, filler
from nextaisle.feed.reader import Feed, Shard
from nextaisle.feed.windows import Windows
from nextaisle.model.next_item import NextItemModel
from nextaisle.model.storage import save_model
from nextaisle.tracking import Tracker
from nextaisle.training import distributed
from nextaisle.training.average import WeightAverage
from nextaisle.training.plan import Epoch, Plan, Report
from nextaisle.training.progress import Progress
from nextaisle.training.step import Step, loss_of, target_weight
from nextaisle.training.validation import judge, sample_targets


def train(plan: Plan) -> Report:
    """Trains until the validation no longer improves, or for `plan.epochs`; the best weights end up in `plan.folder`.

    Called on every rank; only rank 0 writes, shows and logs.
    """
    distributed.start()
    try:
        return _train(plan, Shard(distributed.rank(), distributed.size()))
    finally:
        distributed.stop()


def _train(plan: Plan, shard: Shard) -> Report:
    settings, device = plan.settings, distributed.device()
    torch.manual_seed(settings.seed + shard.rank)
    step = _prepare(plan, device)
    feed, validation = Feed(plan.train, shard), _validation(plan, shard)
    tracker = Tracker(plan.tracking)
    history: list[Epoch] = []
    best, clock = 0, time.monotonic()
    with Progress(plan.folder.name, plan.epochs, plan.train.row_count, is_shown=shard.rank == 0) as progress:
        for epoch in range(1, plan.epochs + 1):
            history.append(_epoch(epoch, step, feed, validation, shard, progress))
            is_better = best == 0 or validation is None or history[-1].ndcg_at_10 > history[best - 1].ndcg_at_10
            if is_better:
                best = epoch
            if shard.rank == 0:
                tracker.log_metrics(plan.run_id, _named(plan, history[-1]), step=epoch)
                progress.epoch_ended(history[-1], is_better)
                if is_better:
                    save_model(step.average.model, plan.folder)
            if _is_over(plan, epoch - best, time.monotonic() - clock):
                break
    if shard.rank == 0:
        _write_history(plan, history, best)
    return Report(tuple(history), best)


def _prepare(plan: Plan, device: torch.device) -> Step:
    """The untrained model: biases at the log of the items' popularity, everything else random."""
    model = NextItemModel(plan.spec, plan.attribute_values)
    counts_I = torch.from_numpy(plan.target_counts_I + 1.0)
    with torch.no_grad():
        model.item_bias.copy_(torch.log(counts_I / counts_I[1:].mean()))
        model.item_bias[0] = 0.0
    model.to(device).train()
    settings = plan.settings
    adam = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    optimizer = distributed.together(model, adam)
    return Step(model, optimizer, loss_of(model, settings, plan.target_counts_I), WeightAverage(model), settings)


def _validation(plan: Plan, shard: Shard) -> list[Windows] | None:
    if plan.validation is None:
        return None
    # Its targets are bounded by validation_cases, so what is left of it is kept.
    parts = Feed(plan.validation, shard, kept_bytes=0).parts(0, plan.settings.seed, plan.settings.batch_positions)
    return sample_targets(parts, plan.validation_target_count, plan.settings.validation_cases)


def _epoch(
    epoch: int, step: Step, feed: Feed, validation: list[Windows] | None, shard: Shard, progress: Progress
) -> Epoch:
    started, seed = time.monotonic(), step.settings.seed
    # Batches and negatives of a rank and epoch, apart from those of all others.
    random = np.random.default_rng([seed, epoch, shard.rank])
    device = next(step.model.parameters()).device
    loss, weight, windows = 0.0, 0.0, 0.0
    for batch, global_weight, window_count in _in_step(_batches(epoch, step, feed, random)):
        loss += step(batch.to(device), global_weight, random)
        weight, windows = weight + global_weight, windows + window_count
        progress.advance(int(window_count))
    seconds = time.monotonic() - started
    loss = distributed.totals(loss)[0] / max(weight, 1.0)
    ndcg, hr = (0.0, 0.0) if validation is None else judge(step.average.model, validation, device)
    return Epoch(epoch, loss, ndcg, hr, windows / max(seconds, 1e-9), seconds)


def _batches(epoch: int, step: Step, feed: Feed, random: np.random.Generator) -> Iterator[Batch]:
    positions = step.settings.batch_positions
    for part in feed.parts(epoch, step.settings.seed, POOL_BATCHES * positions):
        yield from cut_batches(part, positions, random)


def _in_step(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float, float]]:
    """Every rank's next batch, with the targets and windows in those of all ranks, until none has one.

    | rank 0 | rank 1 | targets, windows |
    |--------|--------|------------------|
    | a      | d      | of a and d       |
    | b      | filler | of b             |

    Batches are cut by length, so ranks cannot know how many the others have; they ask before each step, and a rank
    that has run out goes along with a batch of weight 0. The all-reduce of the gradients then never waits in vain.
    """
    while True:
        batch = next(batches, None)
        mine = (0.0, 0.0) if batch is None else (target_weight(batch), float(batch.weight_B.sum()))
        targets, windows = distributed.totals(*mine)
        if windows == 0:
            return
        yield (batch or filler()), targets, windows


def _is_over(plan: Plan, epochs_without_gain: int, seconds: float) -> bool:
    """The same answer on every rank: rank 0's clock decides."""
    is_late = 0 < plan.settings.max_minutes * 60 <= seconds
    is_late_for_first = distributed.totals(float(is_late and distributed.rank() == 0))[0] > 0
    return is_late_for_first or epochs_without_gain >= plan.settings.patience


def _named(plan: Plan, epoch: Epoch) -> dict[str, float]:
    """The refit's metrics stand apart from those of the judged model."""
    return {name if plan.validation else f"refit/{name}": value for name, value in epoch.metrics().items()}


def _write_history(plan: Plan, history: list[Epoch], best: int) -> None:
    text = json.dumps({"best_epoch": best, "epochs": [epoch.to_json() for epoch in history]}, indent=1)
    (plan.folder / "history.json").write_text(text + "\n", encoding="utf-8")
