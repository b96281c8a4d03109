"""Trains one lineage, the same on every rank: epochs, early stop, and the best weights kept."""

import json
import time

import torch

from nextaisle.feed.reader import Feed, Shard
from nextaisle.model.storage import save_model
from nextaisle.tracking import Tracker
from nextaisle.training import distributed
from nextaisle.training.epoch import prepare, run_epoch
from nextaisle.training.plan import Epoch, Plan, Report
from nextaisle.training.progress import Progress
from nextaisle.training.validation import Validation, sample_targets


def train(plan: Plan) -> Report:
    """Trains until the validation no longer improves, or for `plan.epochs`; the best weights end up in `plan.folder`.

    An epoch whose loss is not finite is the last: what it learned is nothing.

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
    step = prepare(plan, device)
    feed, validation = Feed(plan.train, shard), _validation(plan, shard)
    tracker = Tracker(plan.tracking)
    history: list[Epoch] = []
    best, clock = 0, time.monotonic()
    with Progress(plan.folder.name, plan.epochs, plan.train.row_count, is_shown=shard.rank == 0) as progress:
        for epoch in range(1, plan.epochs + 1):
            history.append(run_epoch(epoch, step, feed, validation, shard, progress))
            if not history[-1].is_finite:
                break
            is_better = best == 0 or _is_gain(history[-1], history[best - 1])
            if is_better:
                best = epoch
            if shard.rank == 0:
                tracker.log_metrics(plan.run_id, history[-1].metrics(plan.metric_prefix), step=epoch)
                progress.epoch_ended(history[-1], is_better)
                if is_better:
                    save_model(step.average.model, plan.folder)
            if _is_over(plan, epoch - best, time.monotonic() - clock):
                break
    if shard.rank == 0 and best:
        _write_history(plan, history, best)
    return Report(tuple(history), best)


def _validation(plan: Plan, shard: Shard) -> Validation | None:
    if plan.validation is None:
        return None
    # Its targets are bounded by validation_cases, so what is left of it is kept.
    parts = Feed(plan.validation, shard, kept_bytes=0).parts(0, plan.settings.seed, plan.settings.batch_positions)
    sampled = sample_targets(parts, plan.validation_target_count, plan.settings.validation_cases)
    return Validation(sampled, plan.asks_before_session)


def _is_gain(epoch: Epoch, best: Epoch) -> bool:
    """Whether the weights are better for this epoch; where nothing judges them the last are kept."""
    if epoch.ndcg_at_10 is None or best.ndcg_at_10 is None:
        return True
    return epoch.ndcg_at_10 > best.ndcg_at_10


def _is_over(plan: Plan, epochs_without_gain: int, seconds: float) -> bool:
    """The same answer on every rank: rank 0's clock decides."""
    is_late = 0 < plan.settings.max_minutes * 60 <= seconds
    is_late_for_first = distributed.totals(float(is_late and distributed.rank() == 0))[0] > 0
    return is_late_for_first or epochs_without_gain >= plan.settings.patience


def _write_history(plan: Plan, history: list[Epoch], best: int) -> None:
    text = json.dumps({"best_epoch": best, "epochs": [epoch.to_json() for epoch in history]}, indent=1)
    (plan.folder / "history.json").write_text(text + "\n", encoding="utf-8")
