"""Which days of the logs are read, and read again: files that come, go and come back, and rules that change."""

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.events import days_in_logs, unread_days
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.events.shops import JSON_LINES, Shop, record

ONE, TWO = date(2024, 1, 1), date(2024, 1, 2)


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path, JSON_LINES)


def unread(shop: Shop, **rules: object) -> list[date]:
    settings = shop.settings(**rules)
    return unread_days(shop.spark, settings.source, Store(shop.spark, settings.store))


def log_of(shop: Shop, day: int, name: str = "1.json") -> Path:
    return shop.root / "logs" / f"2024-01-{day:02}" / name


@pytest.mark.slow
def test_what_a_mended_day_has_lost_belongs_to_the_later_day_that_brought_it_again(shop: Shop) -> None:
    """And a file that comes back, with its time, is read again."""
    again = record("u", "01 23:00:00", "again")
    shop.write(1, [record("u", "01 09:00:00", "stays")], "stays.json")
    shop.write(1, [again], "goes.json")
    shop.write(2, [again, record("v", "02 10:00:00", "b")])
    shop.clean(1)
    shop.clean(2)
    first = shop.contents()
    goes, away = log_of(shop, 1, "goes.json"), shop.root / "goes.json"
    goes.rename(away)
    assert shop.clean(1).rows["files"] == 2
    assert shop.rows(EVENTS, "item_id", "ingest_date") == [("again", TWO), ("b", TWO), ("stays", ONE)]
    assert len(shop.rows(SOURCE_FILES)) == 2
    replace(shop, tables="whole").clean(1, 2)
    assert shop.contents() == replace(shop, tables="whole").contents()
    assert unread(shop) == []
    away.rename(goes)
    assert unread(shop) == [ONE]
    shop.clean(1)
    assert (unread(shop), shop.contents()) == ([], first)
    # Nor does it matter that the later day brought it first, and no repetition was counted.
    backwards = replace(shop, tables="backwards")
    backwards.clean(2)
    backwards.clean(1)
    goes.rename(away)
    backwards.clean(1)
    assert backwards.contents() == replace(shop, tables="whole").contents()
    away.rename(goes)
    # Without events nothing was read, whatever source_files says.
    (shop.root / "tables" / "events").rename(shop.root / "away")
    assert unread(shop) == [ONE, TWO]


@pytest.mark.slow
def test_a_folder_of_a_day_to_come_makes_no_refused_record_old(shop: Shop, spark: SparkSession) -> None:
    shop.write(1, [record("u", "01 10:00:00"), "broken"])
    shop.clean(1)
    (far := shop.root / "logs" / "2042-01-01" / "1.json").parent.mkdir()
    far.touch()
    with pytest.raises(InputError, match=r"2042-01-01/1\.json"):
        days_in_logs(spark, shop.settings().source)
    assert execute(clean_events.JOB, shop.settings(), spark, date(2042, 1, 1), date(2042, 1, 1)).exit_code == 0
    shop.write(2, ["broken, too"])
    shop.clean(2)
    assert len(shop.rows(REJECTED_EVENTS)) == 2
    # Logs that were unpacked without their times are not refused.
    for path in (far, log_of(shop, 1), log_of(shop, 2)):
        os.utime(path, (0, 0))
    assert len(days_in_logs(spark, shop.settings().source)) == 3


@pytest.mark.slow
def test_days_of_a_range_are_asked_for_as_single_ones_are(shop: Shop) -> None:
    for day in (1, 2, 4):
        shop.write(day, [record("u", f"{day:02} 10:00:00")])
    shop.clean(1, 4)
    log_of(shop, 2).unlink()
    shop.clean(1, 4)
    assert [day.day for (day,) in shop.rows(EVENTS, "event_date")] == [1, 4]
    missing = shop.run(clean_events.JOB, 1, 5)
    assert (missing.exit_code, "no logs for 2024-01-05" in missing.reason) == (3, True)


@pytest.mark.slow
def test_another_mapping_makes_all_days_unread_and_another_time_zone_is_for_all_days_at_once(shop: Shop) -> None:
    early = record("u", "02 02:00:00", "early")
    shop.write(2, [early])
    shop.write(3, [early, record("u", "03 12:00:00")])
    shop.clean(2)
    shop.clean(3)
    assert unread(shop) == []
    assert unread(shop, source__event_types__stare="view") == [TWO, date(2024, 1, 3)]
    new_york = {"source__time_zone": "America/New_York"}
    outcome = shop.run(clean_events.JOB, 3, **new_york)
    assert (outcome.exit_code, "2024-01-02 were read by 'UTC'" in outcome.reason) == (2, True)
    shop.clean(2, 3, **new_york)
    assert [day.day for (day,) in shop.rows(EVENTS, "event_date")] == [1, 3]
    assert unread(shop, **new_york) == []
