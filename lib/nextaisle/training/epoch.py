"""One epoch on every rank, in step with the others."""

import time
from collections.abc import Iterator

import numpy as np
import torch

from nextaisle.feed.batches import POOL_BATCHES, Batch, cut_batches, filler
from nextaisle.feed.reader import Feed, Shard
from nextaisle.model.next_item import NextItemModel
from nextaisle.training import distributed
from nextaisle.training.average import WeightAverage
from nextaisle.training.plan import Epoch, Plan
from nextaisle.training.progress import Progress
from nextaisle.training.step import Step, loss_of, target_weight
from nextaisle.training.validation import Validation, judge


def prepare(plan: Plan, device: torch.device) -> Step:
    """The untrained model: biases at the log of the items' popularity, everything else random."""
    model = NextItemModel(plan.spec, plan.attribute_values)
    counts_I = torch.from_numpy(plan.target_counts_I + 1.0)
    with torch.no_grad():
        model.item_bias.copy_(torch.log(counts_I / counts_I[1:].mean()))
        model.item_bias[0] = 0.0
    model.to(device).train()
    # cuDNN's attention makes a plan for each shape, 10 ms of a processor, and nearly every batch has another.
    torch.backends.cuda.enable_cudnn_sdp(False)
    settings = plan.settings
    adam = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    optimizer = distributed.together(model, adam)
    return Step(model, optimizer, loss_of(model, settings, plan.target_counts_I), WeightAverage(model), settings)


def run_epoch(
    epoch: int, step: Step, feed: Feed, validation: Validation | None, shard: Shard, progress: Progress
) -> Epoch:
    started, seed = time.monotonic(), step.settings.seed
    # Batches and negatives of a rank and epoch, apart from those of all others.
    random = np.random.default_rng([seed, epoch, shard.rank])
    device = next(step.model.parameters()).device
    loss, weight, windows = 0.0, 0.0, 0.0
    for batch, global_weight, window_count in in_step(_batches(epoch, step, feed, random)):
        loss += step(batch.to(device), global_weight, random)
        weight, windows = weight + global_weight, windows + window_count
        progress.advance(int(window_count))
    seconds = time.monotonic() - started
    loss = distributed.totals(loss)[0] / max(weight, 1.0)
    ndcg, hr = (None, None) if validation is None else judge(step.average.model, validation, device)
    return Epoch(epoch, loss, ndcg, hr, windows / max(seconds, 1e-9), seconds)


def _batches(epoch: int, step: Step, feed: Feed, random: np.random.Generator) -> Iterator[Batch]:
    positions, spec = step.settings.batch_positions, step.model.spec
    # A part is counted in inputs, a pool in those that are encoded.
    part_inputs = POOL_BATCHES * positions * spec.length // spec.encoded_length
    for part in feed.parts(epoch, step.settings.seed, part_inputs):
        yield from cut_batches(part, positions, spec.encoded_length, random)


def in_step(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float, float]]:
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
