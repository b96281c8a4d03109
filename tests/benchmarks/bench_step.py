"""What a training step costs by model, batch and device, and how much of it is the making of the batch

Run it with: PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_step.py
Prints one line per model, batch and device: inputs (events of histories, no filling) per second, and how many times the
processor's. A machine without a GPU prints the processor's lines alone. Lengths and items have long tails, as in shops.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nextaisle import overlays
from nextaisle.feed.batches import Batch, cut_batches
from nextaisle.feed.reader import Files
from nextaisle.feed.windows import Windows
from nextaisle.model.spec import ModelSpec
from nextaisle.training import distributed
from nextaisle.training.epoch import prepare
from nextaisle.training.plan import Plan
from nextaisle.training.step import Step, target_weight

WARM_UP, SECONDS = 3, 15.0


class Case(NamedTuple):
    name: str
    spec: ModelSpec
    batch_positions: int
    negatives: int
    windows: int
    fits_processor: bool = True


_SMALL = ModelSpec("transformer", 64, 2, 2, 0.2, 50, 12_101)
_GROCER = ModelSpec(
    "lstm_attention", 64, 1, 2, 0.2, 400, 68_509, inputs=("event_type", "session_end"), has_pointer=True, span=100
)
_LARGE = ModelSpec("transformer", 256, 4, 4, 0.2, 200, 1_000_000)
CASES = (
    Case("transformer, width 64, 12,101 items", _SMALL, 4096, 256, 40_000),
    Case("transformer, width 64, 12,101 items", _SMALL, 65_536, 1024, 60_000),
    Case("lstm_attention with pointer, 68,509 items", _GROCER, 4096, 256, 20_000),
    Case("transformer, width 256, 4 blocks, 1 M items", _LARGE, 65_536, 8192, 60_000, fits_processor=False),
)


def main() -> None:
    distributed.start()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {_gpu() or 'no GPU'}")
    print(f"{'model':44} {'batch':>7} {'device':6} {'inputs/s':>11} {'ratio':>6} {'making batches':>15}")
    for case in CASES:
        processor = measure(case, torch.device("cpu")) if case.fits_processor else 0.0
        if _gpu():
            measure(case, torch.device("cuda"), processor)
    distributed.stop()


def measure(case: Case, device: torch.device, processor: float = 0.0) -> float:
    """Inputs per second through whole steps: cutting, copying, learning."""
    windows = _windows(case)
    step = _step(case, windows, device)
    for batch, weight in _batches(case, windows, WARM_UP):
        step(batch.to(device), weight, np.random.default_rng(0))
    _wait(device)
    started, cutting, inputs = time.perf_counter(), 0.0, 0
    batches, random = _batches(case, windows), np.random.default_rng(1)
    while (cut_at := time.perf_counter()) - started < SECONDS and (found := next(batches, None)):
        cutting += time.perf_counter() - cut_at
        step(found[0].to(device), found[1], random)
        inputs += int(found[0].inputs.length_B.sum())
    _wait(device)
    seconds = time.perf_counter() - started
    ratio = f"{inputs / seconds / processor:.1f}" if processor else ""
    sizes = f"{case.name:44} {case.batch_positions:7,} {device.type:6} {inputs / seconds:11,.0f}"
    print(f"{sizes} {ratio:>6} {cutting / seconds:15.0%}", flush=True)
    return inputs / seconds


def _windows(case: Case) -> Windows:
    random, spec = np.random.default_rng(0), case.spec
    length_W = np.clip(random.geometric(3 / spec.length, case.windows), 1, spec.length)
    offset_W1 = np.concatenate([[0], np.cumsum(length_W)])
    item_E, target_E = (np.minimum(random.zipf(1.2, offset_W1[-1]), spec.item_count).astype(np.int32) for _ in "it")
    ends_E = (random.random(offset_W1[-1]) < 0.1).astype(np.int8)
    return Windows(np.arange(case.windows), offset_W1, item_E, np.ones_like(ends_E), ends_E, target_E)


def _step(case: Case, windows: Windows, device: torch.device) -> Step:
    settings = overlays.load()
    sizes = {"batch_positions": case.batch_positions, "negatives": case.negatives}
    counts_I = np.bincount(windows.target_E, minlength=case.spec.item_count + 1)
    plan = Plan(
        spec=case.spec, settings=settings.training.model_copy(update=sizes), tracking=settings.tracking, run_id="",
        folder=Path(), train=Files((), case.windows, case.spec.length), validation=None, validation_target_count=0,
        target_counts_I=counts_I, attribute_values={}, epochs=1,
    )  # fmt: skip
    return prepare(plan, device)


def _batches(case: Case, windows: Windows, count: int = 1 << 30) -> Iterator[tuple[Batch, float]]:
    batches = cut_batches(windows, case.batch_positions, case.spec.encoded_length, np.random.default_rng(0))
    for _, batch in zip(range(count), batches, strict=False):
        yield batch, target_weight(batch)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


if __name__ == "__main__":
    main()
