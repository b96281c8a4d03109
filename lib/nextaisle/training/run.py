"""One run: the lineages are trained unless they are there, and everything about them is told to MLflow."""

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nextaisle.config import Settings, home
from nextaisle.contract.runs import AS_OF_TAG, MODEL_PATH
from nextaisle.tracking import Tracker
from nextaisle.training.data import TrainingData
from nextaisle.training.lineages import Lineages, finished, train_lineages, training_key
from nextaisle.training.plan import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Trained:
    """Counts for job_runs, and the run that holds the rest."""

    rows: dict[str, int]
    run_id: str


def train_run(settings: Settings, data: TrainingData, tags: dict[str, str]) -> Trained:
    """Trains, or finds that a finished run has done so with the same rows, configuration and code."""
    tracker, key = Tracker(settings.tracking), training_key(settings, data)
    lineages = finished(settings, key)
    run_id = tracker.find("training_key", key) if lineages else None
    if lineages is None or run_id is None:
        lineages, run_id = _tracked(tracker, settings, data, key, tags, lineages)
    report = lineages.report
    rows = {
        "train_examples": data.files["train"].row_count,
        "epochs": len(report.history),
        "best_epoch": report.best_epoch,
    }
    return Trained(rows, run_id)


def _tracked(
    tracker: Tracker, settings: Settings, data: TrainingData, key: str, tags: dict[str, str], known: Lineages | None
) -> tuple[Lineages, str]:
    """A run that ends as FINISHED or FAILED, whatever happens in it."""
    versions = {f"version.{table}": str(version) for table, version in data.versions.items()}
    run_id = tracker.start(
        f"{settings.model.name} {data.as_of}",
        {"training_key": key, AS_OF_TAG: str(data.as_of), "git_commit": _git_commit(), **versions, **tags},
    )
    try:
        tracker.log_settings(run_id, settings)
        lineages = known or train_lineages(settings, data, key, run_id)
        _log_outcome(tracker, run_id, lineages, is_replayed=known is not None)
    except BaseException:
        tracker.finish(run_id, "FAILED")
        raise
    tracker.finish(run_id, "FINISHED")
    return lineages, run_id


def _log_outcome(tracker: Tracker, run_id: str, lineages: Lineages, is_replayed: bool) -> None:
    history, best = lineages.report.history, lineages.report.best_epoch
    if is_replayed:
        # The weights are of an earlier process, which did not get as far as this.
        for epoch in history:
            tracker.log_metrics(run_id, epoch.metrics(), step=epoch.epoch)
    tracker.log_metrics(run_id, {"train/best_epoch": float(best)})
    if (gain := history[best - 1].ndcg_at_10) is not None:
        tracker.log_metrics(run_id, {"validation/best_ndcg_at_10": gain})
    tracker.log_figure(run_id, loss_curve(history, best), "pictures/loss_curve.png")
    tracker.log_json(run_id, [epoch.to_json() for epoch in history], "history.json")
    tracker.log_folder(run_id, lineages.folder, MODEL_PATH)
    tracker.register(run_id, MODEL_PATH)


def loss_curve(history: tuple[Epoch, ...], best_epoch: int) -> "Figure":
    """Training loss on the left axis, validation NDCG@10 on the right (where there is one), the kept epoch marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    loss = figure.subplots()
    epochs = [epoch.epoch for epoch in history]
    loss.plot(epochs, [epoch.train_loss for epoch in history], color="tab:blue", label="training loss")
    loss.set(xlabel="epoch", ylabel="training loss")
    gain = loss.twinx()
    judged = {epoch.epoch: epoch.ndcg_at_10 for epoch in history if epoch.ndcg_at_10 is not None}
    gain.plot(list(judged), list(judged.values()), color="tab:orange", label="validation NDCG@10")
    gain.set_ylabel("validation NDCG@10")
    gain.axvline(best_epoch, color="grey", linestyle=":", label="kept")
    lines = [*loss.get_lines(), *gain.get_lines()]
    loss.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    return figure


def _git_commit() -> str:
    """The commit of the code that runs; empty in an installation without git."""
    try:
        asked = ["git", "-C", str(home()), "rev-parse", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
