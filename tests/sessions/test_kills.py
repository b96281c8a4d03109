"""A killed build_sessions leaves nothing that the next run does not put right."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import build_sessions
from nextaisle import config
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, SESSIONS
from nextaisle.job import execute
from nextaisle.store import Store
from tests.sequences.events import Event, publish

FIRST, LAST = date(2017, 3, 11), date(2017, 3, 14)
EVENTS_BEFORE = [Event(f"u{user}", 7.0 * user + 25 * n) for user in range(300) for n in range(40)]
EVENTS_AFTER = [*EVENTS_BEFORE, *(Event(f"u{user}", 24.0 * 60 + user, "late") for user in range(300))]


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """The job as a process group of its own, so that a kill takes Spark with it."""
    home, scripts = config.home(), Path(sys.executable).parent
    words = [
        f"{scripts}/spark-submit", "--properties-file", f"{home}/conf/spark-defaults.conf",
        "--conf", "spark.driver.memory=1g", "--conf", "spark.ui.showConsoleProgress=false",
        f"{home}/jobs/build_sessions.py", "--from", str(FIRST), "--to", str(LAST),
        "--set", f"store.root={settings.store.root}",
    ]  # fmt: skip
    places = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": f"{home}/lib:{home}",
        "NEXTAISLE_HOME": str(home),
    }
    return subprocess.Popen(
        words, env=os.environ | places, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def within(settings: Settings, root: Path) -> Settings:
    return settings.model_copy(update={"store": settings.store.model_copy(update={"root": str(root)})})


def contents(spark: SparkSession, settings: Settings) -> list[Any]:
    return sorted((tuple(row) for row in Store(spark, settings.store).read(SESSIONS).collect()), key=repr)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sessions_are_the_same_after_a_kill_at_any_moment(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """Ten moments between the start of the job and its end; each finds a table that is partly out of date."""
    clean = within(settings, tmp_path / "clean")
    publish(spark, clean, EVENTS_BEFORE)
    assert execute(build_sessions.JOB, clean, spark, FIRST, LAST).exit_code == 0
    publish(spark, clean, EVENTS_AFTER)
    roots = [tmp_path / f"killed{n}" for n in range(10)]
    for root in roots:
        shutil.copytree(tmp_path / "clean", root)
    began = time.monotonic()
    assert start(clean).wait(900) == 0
    seconds = time.monotonic() - began
    expected = contents(spark, clean)
    moments = random.Random(1)
    for root in roots:
        killed = within(settings, root)
        process = start(killed)
        # Before a third of it, Java and Spark have not begun with the job.
        time.sleep(seconds * moments.uniform(0.3, 1.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert execute(build_sessions.JOB, killed, spark, FIRST, LAST).exit_code == 0
        assert contents(spark, killed) == expected
        assert Store(spark, killed.store).read(EVENTS).count() == len(EVENTS_AFTER)
