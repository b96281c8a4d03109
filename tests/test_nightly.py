"""The whole path on synthetic shoppers: logs in, recommendations out, with two Horovod processes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs import nightly
from nextaisle import config, overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import RECOMMENDATIONS, SEQUENCES, TABLES
from nextaisle.job import Outcome, execute, planning
from nextaisle.quality.complete_days import complete_days
from nextaisle.storage.store import Store
from nextaisle.synthetic import write_logs

USERS, DAYS, K = 120, 8, 5
LAST_DAY = date(2024, 1, DAYS)
# Several whole nights are run before the first test.
pytestmark = pytest.mark.timeout(1200)
README = (config.home() / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def shop(home: Path) -> Settings:
    sets = {
        "source.path": f"{home}/logs/log_date={{date}}/*.gz", "items.path": f"{home}/logs/items.parquet",
        "store.root": f"{home}/var/tables", "tracking.uri": f"sqlite:///{home}/mlflow.db",
        "tracking.artifacts": f"{home}/mlartifacts", "training.checkpoints": f"{home}/checkpoints",
        "synthetic.users": USERS, "synthetic.days": DAYS, "synthetic.items": 60, "synthetic.broken_share": 0.01,
        "synthetic.duplicate_share": 0.01, "examples.length": 20, "examples.stride": 20, "model.dimension": 16,
        "model.blocks": 1, "training.processes": 2, "training.max_epochs": 2, "training.negatives": 32,
        "training.batch_positions": 512, "evaluation.window_days": 2, "evaluation.target_event_types": '["view"]',
        "scoring.k": K, "users.path": f"{home}/logs/users.json", "users.format": "json",
        "users.schema": "user string, place string", "users.columns.user_id": "user", "users.columns.region": "place",
        "identities.path": f"{home}/logs/links.json", "identities.format": "json",
        "identities.schema": "id string, user string", "identities.columns.id": "id",
        "identities.columns.user_id": "user",
    }  # fmt: skip
    return overlays.load([config.home() / "conf" / "synthetic.toml"], [f"{key}={value}" for key, value in sets.items()])


@pytest.fixture(scope="module")
def nights(spark: SparkSession, shop: Settings, home: Path) -> list[Outcome]:
    """The first night, and the same night again, in generated code as in production."""
    write_logs(spark, shop.synthetic, f"{home}/logs")
    one, other = (
        row["user_id"]
        for row in spark.read.schema(shop.source.ddl)
        .json(f"{home}/logs/log_date=*")
        .where("user_id IS NOT NULL")
        .select("user_id")
        .distinct()
        .orderBy("user_id")
        .limit(2)
        .collect()
    )
    (home / "logs" / "users.json").write_text(json.dumps({"user": one, "place": "north"}), encoding="utf-8")
    (home / "logs" / "links.json").write_text(json.dumps({"id": other, "user": one}), encoding="utf-8")
    production = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
    tests = {key: str(spark.conf.get(key)) for key in production}
    try:
        for key, value in production.items():
            spark.conf.set(key, value)
        return [execute(nightly.JOB, shop, spark, None, None) for _ in range(2)]
    finally:
        for key, value in tests.items():
            spark.conf.set(key, value)


@pytest.fixture
def at_home(nights: list[Outcome], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder is one whose var/tables are the night's."""
    monkeypatch.chdir(home)
    yield home


def test_a_night_ends_with_k_ranked_items_for_every_user(
    nights: list[Outcome], spark: SparkSession, shop: Settings
) -> None:
    assert [night.reason for night in nights] == ["", ""]
    rows = Store(spark, shop.store).read(RECOMMENDATIONS).collect()
    users = {row["user_id"] for row in rows}
    seen = Store(spark, shop.store).read(SEQUENCES).select("user_id").distinct().collect()
    assert users == {row["user_id"] for row in seen}
    assert nights[0].rows["score_users.users"] == len(users) > USERS / 2
    ranks = sorted((row["user_id"], row["rank"]) for row in rows)
    assert ranks == sorted((user, rank) for user in users for rank in range(1, K + 1))
    assert {row["score_date"] for row in rows} == {LAST_DAY}


def test_the_same_night_again_changes_no_table(nights: list[Outcome], spark: SparkSession, shop: Settings) -> None:
    assert nights[1].exit_code == 0
    runs = Store(spark, shop.store).read(TABLES["job_runs"]).where("job <> 'nightly'").orderBy("started_time").collect()
    again = runs[len(runs) // 2 :]
    assert {run["job"] for run in again if run["outcome"] == "done"} == {"train_model"}
    trained = [run["tracking_run_id"] for run in runs if run["job"] == "train_model"]
    assert trained[0] == trained[1] != ""
    before = {name: version for run in runs[: len(runs) // 2] for name, version in run["versions_written"].items()}
    after = {name: version for run in again for name, version in run["versions_written"].items()}
    assert before == after


def test_a_night_checks_its_tables_and_marks_its_days_once(
    nights: list[Outcome], spark: SparkSession, shop: Settings
) -> None:
    store = Store(spark, shop.store)
    checks = store.read(TABLES["data_quality"])
    assert checks.where("outcome = 'failed' and severity = 'error'").collect() == []
    checked = {(row["table_name"], row["check_date"]) for row in checks.select("table_name", "check_date").collect()}
    assert checked >= {("events", LAST_DAY), ("examples", LAST_DAY), ("recommendations", LAST_DAY)}
    assert complete_days(store) == [date(2024, 1, day) for day in range(1, DAYS + 1)]
    assert store.current_version(TABLES["complete_days"]) == 1  # the table made, and filled once
    plan = execute(planning(nightly.JOB, nightly.plan_night), shop, spark, None, None)
    assert (plan.exit_code, plan.rows["steps_to_run"], plan.rows["tables_to_build"]) == (0, 0, 0), plan


@pytest.mark.parametrize("name", sorted(TABLES))
def test_plain_readers_open_every_table_and_find_its_comments(name: str, at_home: Path) -> None:
    path = f"var/tables/{name}"
    extension = files("duckdb_extension_delta") / f"extensions/v{duckdb.__version__}/delta.duckdb_extension"
    duckdb.load_extension(str(extension))
    table = DeltaTable(path)
    count = len(pl.read_delta(path))
    found = duckdb.sql(f"select count(*) from delta_scan('{path}')").fetchone()
    assert found == (count,)
    assert count > 0
    assert table.metadata().description == TABLES[name].comment
    comments = {field.name: field.metadata["comment"] for field in table.schema().fields}
    assert comments == {column.name: column.comment for column in TABLES[name].columns}


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=lambda text: text[:20])
def test_the_readmes_way_to_read_tables_works(example: str, at_home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", example], cwd=at_home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_readmes_overlay_is_a_valid_one(tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert found
    for number, text in enumerate(found):
        overlay = tmp_path / f"{number}.toml"
        overlay.write_text(text, encoding="utf-8")
        assert overlays.load([overlay]).store.root


def test_the_readmes_tree_names_every_file() -> None:
    tree = README.split("## Where things are")[1]
    folders = ("conf", "jobs", "lib", "notebooks", "tests/benchmarks")
    files = [
        path.name
        for folder in folders
        for path in (config.home() / folder).rglob("*")
        if path.is_file() and not {"__pycache__"} & set(path.parts) and path.name != "__init__.py"
    ]
    assert [name for name in files if not re.search(rf"(^|[\s/]){re.escape(name)}\b", tree)] == []
