"""The model that scores: the registered champion, if it and the vocabulary fit together."""

from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame

from nextaisle.config import Tracking, without_secrets
from nextaisle.contract.errors import GateError
from nextaisle.contract.runs import MODEL_PATH, SERVING
from nextaisle.contract.vocabulary import vocabulary_hash
from nextaisle.model import load_model
from nextaisle.scoring.packed import PackedModel, pack_model
from nextaisle.tracking import ModelVersion, Tracker


@dataclass(frozen=True)
class Champion:
    """The serving weights of the champion, and the name that its lists carry: `nextaisle/3`."""

    packed: PackedModel
    model_version: str
    run_id: str


def champion_version(tracking: Tracking) -> ModelVersion:
    """
    Raises:
        GateError: no registered model is the champion.
    """
    version = Tracker(tracking).champion()
    if version is None:
        raise GateError(
            f"no version of model {tracking.model_name} at {without_secrets(tracking.uri)} has the alias champion: run "
            "train_model and then evaluate_model, which gives it"
        )
    return version


def load_champion(tracking: Tracking, items: DataFrame) -> Champion:
    """
    Raises:
        GateError: there is no champion, or its vocabulary is no prefix of the table's.
    """
    version = champion_version(tracking)
    # The Tracker removes the download when it goes, so it stays until the files are read.
    tracker = Tracker(tracking)
    folder = tracker.download(version.run_id, MODEL_PATH) / SERVING
    _check_vocabulary(folder, items, f"{tracking.model_name} version {version.version}")
    return Champion(pack_model(folder), f"{tracking.model_name}/{version.version}", version.run_id)


def _check_vocabulary(folder: Path, items: DataFrame, name: str) -> None:
    spec = load_model(folder).spec
    found = vocabulary_hash(items, spec.item_count)
    if found != spec.vocabulary_hash:
        raise GateError(
            f"{name} learned other items than table items holds: the first {spec.item_count:,} of the table have the "
            f"hash {found}, the model's have {spec.vocabulary_hash}; run train_model and evaluate_model on these tables"
        )
