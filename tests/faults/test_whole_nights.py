"""A night that is killed in any of its jobs, training and scoring among them, ends the same when it is run again."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from nextaisle import overlays
from nextaisle.contract.tables import TABLES
from nextaisle.storage.store import Store
from tests.faults.killing import kill_midway, seconds_of
from tests.faults.shop import NIGHT, OVERLAY, shop_before_its_last_day

KILLS = 6
# Who made it and when; of a run again another. All that was made is the same.
NAMES_OF_RUNS = {"run_id", "model_version", "completed_time", "versions", "table_ids"}
SMALL = {
    "examples.length": 20, "examples.stride": 20, "model.dimension": 16, "model.blocks": 1, "training.max_epochs": 2,
    "training.negatives": 32, "training.batch_positions": 512, "evaluation.window_days": 1,
    "evaluation.target_event_types": '["view"]', "scoring.k": 5,
}  # fmt: skip


def words(logs: list[str], root: Path) -> list[str]:
    """The command line of a night whose tables, models and runs are all under `root`."""
    places = {
        "store.root": root / "tables", "tracking.uri": f"sqlite:///{root}/mlflow.db",
        "tracking.artifacts": root / "artifacts", "training.checkpoints": root / "checkpoints",
    }  # fmt: skip
    sets = [*logs, *(f"{key}={value}" for key, value in (SMALL | places).items())]
    return ["--date", str(NIGHT), "--conf", str(OVERLAY), *(word for each in sets for word in ("--set", each))]


def contents(spark: SparkSession, night: list[str]) -> dict[str, list[Any]]:
    """The rows of every table but the ledger of runs, sorted, without the names of runs."""
    store = Store(spark, overlays.load([OVERLAY], night[5::2]).store)
    tables = [table for name, table in TABLES.items() if name != "job_runs"]
    frames = {table.name: store.read(table).drop(*NAMES_OF_RUNS) for table in tables}
    return {name: sorted((tuple(row) for row in rows.collect()), key=repr) for name, rows in frames.items()}


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_whole_night_is_the_same_after_a_kill_at_any_moment(spark: SparkSession, tmp_path: Path) -> None:
    shop = shop_before_its_last_day(spark, tmp_path)
    roots = [tmp_path / name for name in ("clean", *(f"killed{number}" for number in range(KILLS)))]
    for root in roots:
        shutil.copytree(shop.tables, root / "tables")
    clean = words(shop.sets, roots[0])
    seconds, expected = seconds_of("nightly", clean), contents(spark, clean)
    assert {"recommendations", "evaluations", "complete_days"} <= {name for name, rows in expected.items() if rows}
    moments = random.Random(1)
    for root in roots[1:]:
        night = words(shop.sets, root)
        kill_midway("nightly", night, seconds, moments)
        seconds_of("nightly", night)
        assert contents(spark, night) == expected
