"""All that a rank needs to train one model: plain data that survives a pickle."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from nextaisle.config import Tracking, Training
from nextaisle.feed.reader import Files
from nextaisle.model.spec import ModelSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """One lineage of weights.

    `target_counts_I` are the training targets by item index; `attribute_values` the value of each item attribute by
    item index. Where `validation` is None nothing is judged: all `epochs` are trained, and the last one is kept.
    `metric_prefix` keeps the metrics of one lineage apart from those of another.
    `asks_before_session`: whether a validation target is to be foreseen from before its session, as a nightly list is.
    """

    spec: ModelSpec
    settings: Training
    tracking: Tracking
    run_id: str
    folder: Path
    train: Files
    validation: Files | None
    validation_target_count: int
    target_counts_I: Array
    attribute_values: dict[str, Array]
    epochs: int
    asks_before_session: bool = False
    metric_prefix: str = ""


@dataclass(frozen=True)
class Epoch:
    """What one epoch brought; ndcg and hr are those of the validation targets, None where there are none."""

    epoch: int
    train_loss: float
    ndcg_at_10: float | None
    hr_at_10: float | None
    examples_per_second: float
    seconds: float

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.train_loss)

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """By the names they have in MLflow, `prefix` before each; a judgement that was not made is left out."""
        found = {
            "train/loss": self.train_loss,
            "train/examples_per_second": self.examples_per_second,
            "validation/ndcg_at_10": self.ndcg_at_10,
            "validation/hr_at_10": self.hr_at_10,
        }
        return {prefix + name: value for name, value in found.items() if value is not None}

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """What rank 0 says at the end. `best_epoch` counts from 1; its weights are those in the folder. 0 is none."""

    history: tuple[Epoch, ...]
    best_epoch: int

    @property
    def has_diverged(self) -> bool:
        return not self.history[-1].is_finite
