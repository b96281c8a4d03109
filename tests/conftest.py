"""One Spark session for all tests, and an empty store for each."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs
from pyspark.sql import SparkSession

from nextaisle import config, overlays
from nextaisle.config import Settings
from nextaisle.spark import create_session
from nextaisle.storage.folders import Folder
from nextaisle.storage.store import Store


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """local[2] with as few partitions as show a shuffle."""
    # Spark's Python workers import the package too, and know nothing of pytest's paths.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(config.home() / "lib"), str(config.home())])
    sizes = {
        "spark.driver.memory": "2g",
        # Where the code cache fills, the JVM stops compiling for good: all that comes after crawls.
        "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=512m -XX:+UseSerialGC",
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        # And generated code is compiled for nothing: interpreted plans are a third faster. test_nightly compiles.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.ui.enabled": "false",
        "spark.sql.ui.retainedExecutions": "5",
        "spark.sql.maxPlanStringLength": "10000",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
    }
    session = create_session("tests", "local[2]", sizes)
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with tables and tracking in a folder of this test's own."""
    return overlays.load(
        assignments=[
            f"store.root={tmp_path}/tables",
            f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
            f"tracking.artifacts={tmp_path}/mlartifacts",
        ]
    )


@pytest.fixture
def store(spark: SparkSession, settings: Settings) -> Store:
    return Store(spark, settings.store)


@pytest.fixture(params=["on this machine", "elsewhere", "not at all"])
def reach(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How tasks of Python reach tables: here, on a store that pyarrow opens, or not at all, so that Spark does all."""
    root, found = fs.SubTreeFileSystem("/", fs.LocalFileSystem()), Folder.local

    def elsewhere(name: str) -> Folder | None:
        here = found(name)
        return here and Folder(here.name, root, here.root.lstrip("/"))

    if request.param != "on this machine":
        monkeypatch.setattr(Folder, "local", elsewhere if request.param == "elsewhere" else lambda _: None)
