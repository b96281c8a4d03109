import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nextaisle import config, overlays
from nextaisle.config import Synthetic
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import EVENTS
from nextaisle.synthetic import record_counts, shopper_events, write_logs
from nextaisle.synthetic.dirt import BOT_EVENTS_PER_DAY
from nextaisle.synthetic.events import records_of, shopper_records

DIRT = (
    "users=300", "days=4", "bots=1", "duplicate_share=0.05", "broken_share=0.03", "late_share=0.1",
    "impossible_time_share=0.02",
)  # fmt: skip
LAST_DAY = date(2024, 1, 4)


@dataclass(frozen=True)
class Line:
    log_date: date
    text: bytes

    @property
    def record(self) -> dict[str, str] | None:
        try:
            found = json.loads(self.text)
        except ValueError:
            return None
        return dict(found)

    @property
    def delay(self) -> timedelta:
        return self.log_date - datetime.fromisoformat((self.record or {})["event_time"]).date()


def shoppers(*assignments: str) -> Synthetic:
    return overlays.load([], [f"synthetic.{assignment}" for assignment in assignments]).synthetic


def lines_in(folder: Path) -> list[Line]:
    """The lines of all days; the time zone of each instant is UTC, so its date is the day."""
    found = []
    for file in sorted(folder.glob("log_date=*/*.gz")):
        day = date.fromisoformat(file.parent.name.removeprefix("log_date="))
        found += [Line(day, text) for text in gzip.decompress(file.read_bytes()).splitlines()]
    return found


@pytest.fixture(scope="module")
def dirty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    folder = tmp_path_factory.mktemp("dirty")
    write_logs(spark, shoppers(*DIRT), str(folder))
    return lines_in(folder)


def test_the_counts_of_dirt_are_those_of_the_lines(spark: SparkSession, dirty: list[Line]) -> None:
    counts = record_counts(spark, shoppers(*DIRT))
    readable = [line for line in dirty if line.record is not None]
    possible = [line for line in readable if abs(line.delay) <= timedelta(days=4)]
    ids = Counter((line.record or {})["event_id"] for line in possible)
    first_seen = {
        (line.record or {})["event_id"]: line for line in sorted(possible, key=lambda line: line.log_date, reverse=True)
    }
    late = [line for line in first_seen.values() if line.delay > timedelta(0)]
    assert counts == {
        "event": len(ids) - len(late) - 4 * BOT_EVENTS_PER_DAY,
        "late": len(late),
        "bot": 4 * BOT_EVENTS_PER_DAY,
        "duplicate": len(possible) - len(ids),
        "broken": len(dirty) - len(readable),
        "impossible_time": len(readable) - len(possible),
    }
    assert min(counts.values()) > 20


def test_dirt_comes_in_the_shares_asked_for(spark: SparkSession) -> None:
    counts = record_counts(spark, shoppers(*DIRT, "days=14", "users=1000"))
    events = counts["event"] + counts["late"]
    shares = {kind: counts[kind] / events for kind in ("duplicate", "broken", "impossible_time")}
    assert shares == pytest.approx({"duplicate": 0.05, "broken": 0.03, "impossible_time": 0.02}, abs=0.004)


def test_nothing_arrives_before_it_happens_or_after_the_last_day(dirty: list[Line]) -> None:
    assert {line.log_date for line in dirty} == {date(2024, 1, day) for day in (1, 2, 3, 4)}
    delays = {line.delay for line in dirty if line.record and line.record["event_time"].startswith("2024")}
    assert delays == {timedelta(days=days) for days in range(4)}


def test_broken_lines_are_cut_off_or_no_text(dirty: list[Line]) -> None:
    broken = [line.text for line in dirty if line.record is None]
    cut = [text for text in broken if text.startswith(b"{")]
    noise = [text for text in broken if text.startswith(b"\xff\xc3\x28")]
    assert cut
    assert noise
    assert len(cut) + len(noise) == len(broken)


def test_clean_logs_hold_the_shoppers_events(spark: SparkSession, tmp_path: Path) -> None:
    asked = shoppers("users=50", "days=3")
    write_logs(spark, asked, str(tmp_path))
    written = {(line.record or {})["event_id"]: (line.record or {})["item_id"] for line in lines_in(tmp_path)}
    events = check_schema(shopper_events(spark, asked), EVENTS).collect()
    assert written == {event.event_id: event.item_id for event in events}
    assert {event.event_date for event in events} == {date(2024, 1, day) for day in (1, 2, 3)}


def test_the_overlay_reads_what_was_written(spark: SparkSession, tmp_path: Path) -> None:
    settings = overlays.load([config.home() / "conf" / "synthetic.toml"], ["synthetic.users=50", "synthetic.days=3"])
    write_logs(spark, settings.synthetic, str(tmp_path))
    path = settings.source.path.replace("var/synthetic", str(tmp_path)).replace("{date}", "2024-01-02")
    columns = [f"{expression} AS {name}" for name, expression in settings.source.columns.items()]
    read = spark.read.schema(settings.source.ddl).json(path).selectExpr(*columns).orderBy("event_id").collect()
    expected = (
        shopper_records(spark, settings.synthetic).where("to_date(event_time) = '2024-01-02'").orderBy("event_id")
    )
    assert read
    assert [row.asDict() for row in read] == [row.asDict() for row in expected.select(*read[0].asDict()).collect()]
    items = spark.read.parquet(str(tmp_path / "items.parquet")).selectExpr(*settings.items.columns.values())
    assert items.count() == 500


def test_partitions_change_nothing(spark: SparkSession) -> None:
    asked = shoppers("users=60", "days=3")
    one, scattered = spark.range(0, 60, 1, 1), spark.range(0, 60, 1, 2).repartition(3)
    found = [sorted(records_of(users, asked).collect()) for users in (one, scattered)]
    assert len(found[0]) > 500
    assert found[0] == found[1]
