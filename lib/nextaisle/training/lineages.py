"""Two lineages of weights: one that is judged on days it has not seen, and one for serving that has seen them all."""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nextaisle.config import Settings, local
from nextaisle.contract.errors import GateError, InputError
from nextaisle.contract.runs import EVALUATED, SERVING
from nextaisle.feed.reader import Files
from nextaisle.job import code_hash
from nextaisle.training.data import TEST, TRAIN, VALIDATION, TrainingData
from nextaisle.training.distributed import launch
from nextaisle.training.loop import train
from nextaisle.training.plan import Epoch, Plan, Report

log = logging.getLogger(__name__)

# Written last: a folder without it is of a training that was interrupted, and starts anew.
_REPORT_FILE = "report.json"
# Settings that change nothing about the weights, or only where they are.
_NOT_PART_OF_THE_KEY = {"checkpoints"}


@dataclass(frozen=True)
class Lineages:
    """The folder with the weights of both, and how the judged one was trained."""

    folder: Path
    report: Report


def training_key(settings: Settings, data: TrainingData) -> str:
    """What the weights depend on, hashed: rows read, configuration, code."""
    parts = {
        "as_of": str(data.as_of),
        "versions": data.versions,
        "vocabulary": data.spec.vocabulary_hash,
        "examples": settings.examples.model_dump(mode="json"),
        "model": settings.model.model_dump(mode="json"),
        "asks_for_window": settings.evaluation.asks_for_window,
        "training": settings.training.model_dump(mode="json", exclude=_NOT_PART_OF_THE_KEY),
        "code": code_hash("contract", "model", "training", "feed"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def finished(settings: Settings, key: str) -> Lineages | None:
    """The lineages that an earlier run with this key trained to the end."""
    folder = _folder(settings, key)
    report_file = folder / _REPORT_FILE
    if not report_file.is_file():
        return None
    stored = json.loads(report_file.read_text(encoding="utf-8"))
    return Lineages(folder, Report(tuple(Epoch(**epoch) for epoch in stored["epochs"]), stored["best_epoch"]))


def train_lineages(settings: Settings, data: TrainingData, key: str, run_id: str) -> Lineages:
    """Trains both, each from scratch: weights never pass from the judged one to the other, nor back.

    | lineage   | learns from               | epochs                                | judged on        |
    |-----------|---------------------------|---------------------------------------|------------------|
    | evaluated | train                     | until validation no longer improves   | validation, test |
    | serving   | train, validation, test   | as many as were best for the other    | nothing          |

    With training.refit off, serving is a copy of evaluated.
    """
    folder = _folder(settings, key)
    shutil.rmtree(folder, ignore_errors=True)
    report = _trained(_evaluated_plan(settings, data, folder / EVALUATED, run_id))
    if settings.training.refit:
        _trained(_serving_plan(settings, data, folder / SERVING, run_id, report.best_epoch))
    else:
        shutil.copytree(folder / EVALUATED, folder / SERVING)
    _write_report(folder, report)
    return Lineages(folder, report)


def _trained(plan: Plan) -> Report:
    log.info("training %s on %d windows, %d items", plan.folder.name, plan.train.row_count, plan.spec.item_count)
    report = launch(train, plan, plan.settings.processes, plan.settings.launcher)
    if report.has_diverged:
        _go_on_with_earlier(plan, report)
    if not (plan.folder / "spec.json").is_file():
        raise InputError(
            f"{plan.folder} holds no weights after training; training.checkpoints must be shared by all hosts"
        )
    return report


def _go_on_with_earlier(plan: Plan, report: Report) -> None:
    """
    Raises:
        GateError: training diverged, and no epoch before was judged.
    """
    last = report.history[-1]
    found = f"training {plan.folder.name} diverged: the loss of epoch {last.epoch} is {last.train_loss}"
    if not report.best_epoch or plan.validation is None:
        raise GateError(f"{found}, expected a finite one; lower training.learning_rate or set training.clip_norm")
    log.warning("%s; the weights of epoch %d are kept", found, report.best_epoch)


def _evaluated_plan(settings: Settings, data: TrainingData, folder: Path, run_id: str) -> Plan:
    validation_targets = int(data.counts([VALIDATION]).sum())
    if not validation_targets:
        log.warning("no validation targets as of %s: training ends after training.max_epochs", data.as_of)
    return Plan(
        data.spec, settings.training, settings.tracking, run_id, folder, data.joined([TRAIN]),
        data.joined([VALIDATION]) if validation_targets else None, validation_targets, data.counts([TRAIN]),
        data.attribute_values, settings.training.max_epochs, settings.evaluation.asks_for_window,
    )  # fmt: skip


def _serving_plan(settings: Settings, data: TrainingData, folder: Path, run_id: str, epochs: int) -> Plan:
    splits = [TRAIN, VALIDATION, TEST]
    plan = _evaluated_plan(settings, data, folder, run_id)
    # The other lineage's epochs were counted under the clock; these are to be all of them.
    unlimited = settings.training.model_copy(update={"max_minutes": 0.0})
    everything: Files = data.joined(splits)
    return replace(
        plan, settings=unlimited, train=everything, validation=None, target_counts_I=data.counts(splits),
        epochs=epochs, metric_prefix="refit/",
    )  # fmt: skip


def _folder(settings: Settings, key: str) -> Path:
    return local(settings.training.checkpoints) / key


def _write_report(folder: Path, report: Report) -> None:
    text = json.dumps({"best_epoch": report.best_epoch, "epochs": [epoch.to_json() for epoch in report.history]})
    staged = folder / f".{_REPORT_FILE}.{os.getpid()}"
    staged.write_text(text + "\n", encoding="utf-8")
    staged.rename(folder / _REPORT_FILE)
