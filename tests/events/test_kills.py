"""A killed clean_events leaves nothing that the next run does not put right."""

import gzip
import json
import random
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.faults.killing import kill_midway, seconds_of

BEFORE, NIGHT = date(2024, 1, 1), date(2024, 1, 2)


def write_day(logs: Path, day: date) -> None:
    """Events of this day, a late one for each user, one repetition, one record without a user."""

    def line(user: str | None, when: date, minute: int) -> str:
        time = f"{when}T{minute // 60:02}:{minute % 60:02}:00Z"
        return json.dumps({"user": user, "item": f"i{minute % 7}", "time": time})

    lines = [line(f"u{user}", day, 3 * n + user % 3) for user in range(200) for n in range(40)]
    lines += [line(f"u{user}", BEFORE, 1200 + user) for user in range(200)]
    lines += [lines[0], line(None, day, 5)]
    (logs / str(day)).mkdir(parents=True)
    (logs / str(day) / "1.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


def words(root: Path, logs: Path) -> list[str]:
    sets = {
        "store.root": root, "source.path": f"{logs}/{{date}}/*.gz", "events.identical_records": "drop",
        "source.schema": "user string, item string, time string", "source.columns.user_id": "user",
        "source.columns.item_id": "item", "source.columns.event_time": "time",
        "source.columns.event_type": "\"'view'\"",  # TOML's quotes around SQL's
    }  # fmt: skip
    return [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]


def contents(spark: SparkSession, settings: Settings) -> list[list[Any]]:
    store = Store(spark, settings.store)
    tables = [store.read(table).collect() for table in (EVENTS, REJECTED_EVENTS, SOURCE_FILES)]
    return [sorted((tuple(row) for row in rows), key=repr) for rows in tables]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_events_are_the_same_after_a_kill_at_any_moment(spark: SparkSession, tmp_path: Path) -> None:
    """Ten moments of a night that brings late events too, so that two partitions of events change."""
    logs, clean = tmp_path / "logs", tmp_path / "clean"

    def settings(root: Path) -> Settings:
        return overlays.load(assignments=words(root, logs)[1::2])

    write_day(logs, BEFORE)
    assert execute(clean_events.JOB, settings(clean), spark, BEFORE, BEFORE).exit_code == 0
    write_day(logs, NIGHT)
    roots = [tmp_path / f"killed{n}" for n in range(10)]
    for root in roots:
        shutil.copytree(clean, root)
    seconds = seconds_of("clean_events", ["--date", str(NIGHT), *words(clean, logs)])
    expected, moments = contents(spark, settings(clean)), random.Random(1)
    for root in roots:
        kill_midway("clean_events", ["--date", str(NIGHT), *words(root, logs)], seconds, moments)
        assert execute(clean_events.JOB, settings(root), spark, NIGHT, NIGHT).exit_code == 0
        assert contents(spark, settings(root)) == expected
