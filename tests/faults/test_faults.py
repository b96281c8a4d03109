"""Whatever goes wrong in a night, the next run brings the tables that a night without faults would have left."""

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle import job as jobs_module
from nextaisle.config import Settings
from nextaisle.events.batch import Batch
from nextaisle.job import execute
from tests.faults.data_chain import FAULT
from tests.faults.killing import kill_midway, kill_when, seconds_of, start
from tests.faults.shop import CHAIN, NIGHT, TABLES, Shop, shop_before_its_last_day

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
KILLS = 20


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shop_before_its_last_day(spark, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def expected(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The tables after a night in which nothing goes wrong."""
    whole = shop.copied(tmp_path_factory.mktemp("expected"))
    whole.build()
    contents = whole.contents()
    assert all(contents.values()), {name: len(rows) for name, rows in contents.items()}
    return contents


def test_a_night_killed_at_any_moment_is_put_right_by_the_next_run(
    shop: Shop, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    seconds = seconds_of(CHAIN, shop.copied(tmp_path / "clock").words())
    moments = random.Random(1)
    for number in range(KILLS):
        killed = shop.copied(tmp_path / f"killed{number}")
        kill_midway(CHAIN, killed.words(), seconds, moments)
        killed.build()
        assert killed.contents() == expected


def _data_files(shop: Shop, table: str) -> set[Path]:
    return set((shop.tables / table).rglob("*.parquet"))


def _commits(shop: Shop, table: str) -> int:
    return len(list((shop.tables / table / "_delta_log").glob("*.json")))


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_kill_between_a_tables_files_and_its_commit_leaves_nothing(
    table: str, shop: Shop, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    killed = shop.copied(tmp_path / "tables")
    files, commits = _data_files(killed, table), _commits(killed, table)
    kill_when(CHAIN, killed.words(), lambda: bool(_data_files(killed, table) - files))
    assert _commits(killed, table) == commits
    killed.build()
    assert killed.contents() == expected


def test_a_kill_in_the_first_commit_of_a_table_is_put_right(
    shop: Shop, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    killed, first, last = replace(shop, tables=tmp_path / "tables"), date(2024, 1, 1), NIGHT - timedelta(days=1)
    words = ["--from", str(first), "--to", str(last), *killed.words()[2:]]
    log = killed.tables / TABLES[0].name / "_delta_log"
    kill_when(CHAIN, words, lambda: any(log.glob(".*.tmp")))
    killed.build(first, last)
    killed.build()
    assert killed.contents() == expected


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_kill_between_two_tables_commits_is_put_right(
    table: str, shop: Shop, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    killed = shop.copied(tmp_path / "tables")
    commits = _commits(killed, table)
    kill_when(CHAIN, killed.words(), lambda: _commits(killed, table) > commits)
    killed.build()
    assert killed.contents() == expected


@pytest.mark.parametrize(
    ("fault", "master"),
    [("raise 3", "local[2,4]"), ("kill 1", "local-cluster[2,1,1024]")],
    ids=["a task fails three times", "an executor dies"],
)
def test_what_lost_attempts_brought_does_not_count(
    fault: str, master: str, shop: Shop, expected: dict[str, list[Any]], tmp_path: Path
) -> None:
    hurt = shop.copied(tmp_path / "tables")
    (faults := tmp_path / "faults").mkdir()
    process = start(CHAIN, hurt.words(), [f"spark.master={master}"], {FAULT: f"{fault} {faults}"})
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output[-2000:]
    assert len(list(faults.iterdir())) == int(fault.split()[1])
    assert hurt.contents() == expected


def test_a_full_disk_ends_the_night_and_harms_nothing(
    shop: Shop, expected: dict[str, list[Any]], small_disk: Callable[[int], None], disk: Path
) -> None:
    small_disk(64)
    full = shop.copied(disk / "tables")
    used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
    small_disk(1 + used // 2**20)
    process = start(CHAIN, full.words())
    output, _ = process.communicate(timeout=1200)
    outcome = json.loads(output.splitlines()[-1])
    assert process.returncode == outcome["exit_code"] != 0
    assert "No space left on device" in outcome["reason"]
    small_disk(64)
    full.build()
    assert full.contents() == expected


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def small_disk(disk: Path) -> Iterator[Callable[[int], None]]:
    """Makes `disk` a file system of so many megabytes, where the machine allows it."""

    def resize(megabytes: int) -> None:
        options = f"remount,size={megabytes}m" if disk.is_mount() else f"size={megabytes}m"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this machine lets nobody mount a file system: {done.stderr!r}")

    yield resize
    if disk.is_mount():
        subprocess.run(["umount", disk], check=True)


def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_published(
    shop: Shop, expected: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurt = shop.copied(tmp_path / "tables")
    before = hurt.contents()
    log = sorted((hurt.logs / f"log_date={NIGHT}").glob("*.gz"))[0]
    whole, times, count = log.read_bytes(), log.stat(), clean_events.check_shares

    def cut_short(batch: Batch, settings: Settings) -> None:
        log.write_bytes(whole[: len(whole) // 2])
        count(batch, settings)

    monkeypatch.setattr(clean_events, "check_shares", cut_short)
    try:
        outcome = execute(clean_events.JOB, hurt.settings, hurt.spark, NIGHT, NIGHT)
    finally:
        log.write_bytes(whole)
        os.utime(log, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert outcome.exit_code == 3
    assert log.name in outcome.reason
    assert hurt.contents() == before
    monkeypatch.undo()
    hurt.build()
    assert hurt.contents() == expected


@pytest.mark.parametrize("years", [-20, 20])
def test_a_clock_set_wrong_changes_no_table(
    years: int, shop: Shop, expected: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz or UTC) + timedelta(days=365 * years)

    wrong = shop.copied(tmp_path / "tables")
    monkeypatch.setattr(jobs_module, "datetime", Clock)
    wrong.build()
    assert wrong.contents() == expected
    # The next night's clock is right again, and nothing is built a second time or left out.
    monkeypatch.undo()
    wrong.build()
    assert wrong.contents() == expected
