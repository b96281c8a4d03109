"""Training windows whose best reachable hit rate is known."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nextaisle.config import Settings
from nextaisle.feed.reader import Files
from nextaisle.model.spec import ModelSpec
from nextaisle.training.plan import Plan

Array = npt.NDArray[Any]
ITEMS, LENGTH = 50, 20

MakePlan = Callable[..., Plan]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose more by waiting for a second thread than it gives, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def chains(rows: int, predictability: float, seed: int) -> Array:
    """item_WL, one item longer than a window: with chance `predictability` an item's one successor, else any item.

    The best HR@1 is p + (1 - p) / V: always say the successor.
    """
    random = np.random.default_rng(seed)
    successor = np.roll(np.arange(1, ITEMS + 1), -1)
    items = np.zeros((rows, LENGTH + 1), np.int64)
    items[:, 0] = random.integers(1, ITEMS + 1, rows)
    for place in range(1, LENGTH + 1):
        is_next = random.random(rows) < predictability
        items[:, place] = np.where(is_next, successor[items[:, place - 1] - 1], random.integers(1, ITEMS + 1, rows))
    return items


def write_windows(path: Path, item_WL: Array, lengths: Array | None = None, row_group_size: int = 64) -> Files:
    """A file as Spark writes the table examples."""
    rows, length = len(item_WL), item_WL.shape[1] - 1
    lengths = np.full(rows, length) if lengths is None else lengths
    is_input = np.arange(length) < lengths[:, None]
    columns = {
        "example_id": pa.array(np.arange(rows, dtype=np.int64)),
        "split": pa.array(["train"] * rows),
        "length": pa.array(lengths.astype(np.int32)),
        "item_indices": _lists(np.where(is_input, item_WL[:, :-1], 0)),
        "event_type_indices": _lists(np.where(is_input, 1, 0)),
        "is_session_end": _lists(np.zeros_like(is_input)),
        "target_indices": _lists(np.where(is_input, item_WL[:, 1:], 0)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return Files((path.as_uri(),), rows, length)


def _lists(values: Array) -> pa.Array:
    return pa.array(list(values.astype(np.int32)), pa.list_(pa.int32()))


@pytest.fixture
def make_plan(settings: Settings, tmp_path: Path) -> MakePlan:
    """A plan over chains; keywords change [training]."""

    def make(name: str = "lstm", predictability: float = 0.8, rows: int = 400, **training: object) -> Plan:
        sizes = {"batch_positions": 512, "learning_rate": 0.005, "negatives": 40, "max_epochs": 20, "patience": 20}
        train_items, judged_items = chains(rows, predictability, seed=1), chains(100, predictability, seed=2)
        return Plan(
            spec=ModelSpec(name, 32, 1, 2, 0.0, LENGTH, ITEMS),
            settings=settings.training.model_copy(update=sizes | training),
            tracking=settings.tracking,
            run_id="",
            folder=tmp_path / "weights",
            train=write_windows(tmp_path / "train.parquet", train_items),
            validation=write_windows(tmp_path / "validation.parquet", judged_items),
            validation_target_count=100 * LENGTH,
            target_counts_I=np.bincount(train_items[:, 1:].ravel(), minlength=ITEMS + 1),
            attribute_values={},
            epochs=int(training.get("max_epochs", sizes["max_epochs"])),  # type: ignore[call-overload]
        )

    return make
