"""train_model as a whole: from the tables to weights and a run in MLflow."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from safetensors.numpy import load_file

from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.errors import GateError, InputError
from nextaisle.contract.tables import EXAMPLES, ITEMS
from nextaisle.model import load_model
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker
from nextaisle.training import run as run_module
from nextaisle.training.data import TrainingData, read_training_data
from nextaisle.training.lineages import training_key
from nextaisle.training.run import train_run

DAY, ITEM_COUNT, LENGTH = date(2024, 1, 9), 12, 6


def sized(settings: Settings) -> Settings:
    """A model and a training that take a moment."""
    training = {"max_epochs": 2, "batch_positions": 128, "negatives": 8}
    model = {"dimension": 8, "blocks": 1, "heads": 1, "inputs": ("event_type", "brand")}
    return settings.model_copy(
        update={
            "training": settings.training.model_copy(update=training),
            "model": settings.model.model_copy(update=model),
            "examples": settings.examples.model_copy(update={"length": LENGTH}),
        }
    )


@pytest.fixture
def small(settings: Settings, tmp_path: Path) -> Settings:
    ours = sized(settings)
    checkpoints = ours.training.model_copy(update={"checkpoints": f"{tmp_path}/checkpoints"})
    return ours.model_copy(update={"training": checkpoints})


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Written once, as no test changes them."""
    root = tmp_path_factory.mktemp("tables")
    store = Store(spark, overlays.load(assignments=[f"store.root={root}"]).store)
    write_tables(spark, store)
    return store


@pytest.fixture(scope="module")
def data(tables: Store) -> TrainingData:
    return read_training_data(tables.fresh(), sized(overlays.load()), DAY)


def write_tables(spark: SparkSession, store: Store) -> None:
    """60 train, 10 validation and 10 test windows over a cycle of 12 items; a thirteenth comes a day later."""
    items = [
        (f"i{index}", index, DAY, None, None, None, f"brand {index % 3}", None, None, None,
         date(2024, 1, 10) if index > ITEM_COUNT else DAY, DAY)
        for index in range(1, ITEM_COUNT + 2)
    ]  # fmt: skip
    store.merge(ITEMS, spark.createDataFrame(items, ITEMS.schema))
    examples = []
    for number in range(80):
        split = "train" if number < 60 else "validation" if number < 70 else "test"
        cycle = [1 + (number + place) % ITEM_COUNT for place in range(LENGTH + 1)]
        examples.append((number, DAY, split, LENGTH, cycle[:-1], [1] * LENGTH, [0] * LENGTH, cycle[1:]))
    store.replace_days(EXAMPLES, spark.createDataFrame(examples, EXAMPLES.schema), DAY, DAY)


def test_what_training_needs_of_the_tables(data: TrainingData) -> None:
    assert {split: files.row_count for split, files in data.files.items()} == {
        "train": 60,
        "validation": 10,
        "test": 10,
    }
    assert data.joined(["train", "test"]).row_count == 70
    # Each of 60 windows has 6 of the 12 items as targets; all places of the cycle are equally often.
    assert data.target_counts_I["train"].tolist() == [0] + [30] * ITEM_COUNT
    assert (data.spec.item_count, data.spec.cardinalities) == (ITEM_COUNT, {"brand": 3})
    assert len(data.attribute_values["brand"]) == ITEM_COUNT + 1
    assert set(data.versions) == {"examples", "items"}


def test_a_night_is_trained_once_and_told_to_mlflow(data: TrainingData, small: Settings) -> None:
    first = train_run(small, data, {"last_date": str(DAY)})
    tracker, key = Tracker(small.tracking), training_key(small, data)
    folder = tracker.download(first.run_id, "model")
    judged, serving = load_model(folder / "evaluated"), load_model(folder / "serving")
    assert first.rows == {"train_examples": 60, "epochs": 2, "best_epoch": first.rows["best_epoch"]}
    assert tracker.find("training_key", key) == first.run_id
    assert judged.spec == serving.spec == data.spec
    # From scratch and on more rows: not the same weights.
    assert not np.array_equal(judged.item.weight.detach(), serving.item.weight.detach())
    tracker.promote("1")
    champion = tracker.champion()
    assert champion is not None and champion.run_id == first.run_id
    weights = Path(small.training.checkpoints) / key / "evaluated" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert train_run(small, data, {}) == first
    assert weights.stat().st_mtime_ns == before


def test_a_run_killed_before_its_end_gives_what_a_clean_one_gives(data: TrainingData, small: Settings) -> None:
    clean = train_run(small, data, {})
    folder = Path(small.training.checkpoints) / training_key(small, data)
    expected = {name: load_file(folder / name / "weights.safetensors") for name in ("evaluated", "serving")}
    # As a kill in the middle of the second lineage leaves it: no report, and other weights.
    (folder / "report.json").unlink()
    (folder / "serving" / "weights.safetensors").write_bytes(b"half")
    again = train_run(small, data, {})
    assert again.rows == clean.rows
    for name, weights in expected.items():
        found = load_file(folder / name / "weights.safetensors")
        assert all(np.array_equal(found[key], weights[key]) for key in weights)


def test_a_run_that_failed_says_so_and_is_not_taken_for_finished(
    data: TrainingData, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("out of memory")

    monkeypatch.setattr(run_module, "train_lineages", fail)
    with pytest.raises(ValueError, match="out of memory"):
        train_run(small, data, {})
    tracker = Tracker(small.tracking)
    assert tracker.find("training_key", training_key(small, data)) is None
    found = tracker._client.search_runs([tracker._experiment_id])
    assert [run.info.status for run in found] == ["FAILED"]


def test_a_training_that_diverges_at_once_ends_the_night_and_names_the_setting(
    data: TrainingData, small: Settings
) -> None:
    wild = small.training.model_copy(update={"learning_rate": 1e38, "clip_norm": 0.0})
    with pytest.raises(GateError, match=r"training evaluated diverged: the loss of epoch 1 is .*lower training.learn"):
        train_run(small.model_copy(update={"training": wild}), data, {})


def test_without_a_refit_the_judged_weights_serve(data: TrainingData, small: Settings) -> None:
    unrefitted = small.model_copy(update={"training": small.training.model_copy(update={"refit": False})})
    folder = Path(small.training.checkpoints) / training_key(unrefitted, data)
    train_run(unrefitted, data, {})
    judged, serving = (load_file(folder / name / "weights.safetensors") for name in ("evaluated", "serving"))
    assert all(np.array_equal(judged[key], serving[key]) for key in judged)
    assert json.loads((folder / "report.json").read_text())["best_epoch"] in (1, 2)


def test_days_without_examples_are_refused(tables: Store, store: Store, small: Settings) -> None:
    with pytest.raises(InputError, match="build_examples"):
        read_training_data(store, small, None)
    with pytest.raises(InputError, match="no rows as of 2024-01-08"):
        read_training_data(tables.fresh(), small, date(2024, 1, 8))


def test_without_a_date_the_newest_examples_are_taken(tables: Store, small: Settings) -> None:
    assert read_training_data(tables.fresh(), small, None).as_of == DAY
