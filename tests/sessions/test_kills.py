"""A killed build_sessions leaves nothing that the next run does not put right."""

import random
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import build_sessions
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, SESSIONS
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.faults.killing import kill_midway, seconds_of
from tests.sequences.events import Event, publish

FIRST, LAST = date(2017, 3, 11), date(2017, 3, 14)
EVENTS_BEFORE = [Event(f"u{user}", 7.0 * user + 25 * n) for user in range(300) for n in range(40)]
EVENTS_AFTER = [*EVENTS_BEFORE, *(Event(f"u{user}", 24.0 * 60 + user, "late") for user in range(300))]


def words(settings: Settings) -> list[str]:
    return ["--from", str(FIRST), "--to", str(LAST), "--set", f"store.root={settings.store.root}"]


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
    seconds = seconds_of("build_sessions", words(clean))
    expected = contents(spark, clean)
    moments = random.Random(1)
    for root in roots:
        killed = within(settings, root)
        kill_midway("build_sessions", words(killed), seconds, moments)
        assert execute(build_sessions.JOB, killed, spark, FIRST, LAST).exit_code == 0
        assert contents(spark, killed) == expected
        assert Store(spark, killed.store).read(EVENTS).count() == len(EVENTS_AFTER)
