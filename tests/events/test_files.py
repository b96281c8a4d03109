"""Which files are read: those that the path names, each once, whatever their names are."""

import gzip
import re
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events
from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import EVENTS, SOURCE_FILES
from nextaisle.events.files import files_of, list_files
from nextaisle.storage.store import Store
from tests.events.shops import JSON_LINES, Shop, record

DAY = date(2024, 1, 1)


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path, JSON_LINES)


def listed(shop: Shop, path: str) -> list[str]:
    settings = shop.settings(source__path=path)
    files = files_of(shop.spark, settings.source, Store(shop.spark, settings.store), DAY, DAY)
    return [file.path.partition("/logs/")[2] for file in files]


def test_names_that_look_like_patterns_are_names(shop: Shop) -> None:
    names = ("1.json", "[1].json", "{1,2}/2.json", "3?.json", r"\4*.json")
    for name in names:
        shop.write(1, [record(name, "01 10:00:00")], name)
    assert shop.clean(1).rows["accepted"] == len(names)
    assert [user for (user,) in shop.rows(EVENTS, "user_id")] == sorted(names, key=repr)
    assert [count for (count,) in shop.rows(SOURCE_FILES, "record_count")] == [1] * len(names)


def test_hidden_files_and_folders_are_read_where_the_path_names_them_alone(shop: Shop) -> None:
    for name in ("1.json", "_2.json", ".~tmp~/3.json", "_old/4.json", "hour/5.json"):
        shop.write(1, [record("u", "01 10:00:00")], name)
    logs = f"{shop.root}/logs"
    assert listed(shop, f"{logs}/{{date}}/*") == ["2024-01-01/1.json", "2024-01-01/hour/5.json"]
    assert listed(shop, f"{logs}/{{date}}/_old/*") == ["2024-01-01/_old/4.json"]
    assert listed(shop, f"{logs}/{{date}}/.~*/*") == ["2024-01-01/.~tmp~/3.json"]


def test_a_folder_with_nothing_in_it_is_a_day_without_events(shop: Shop) -> None:
    """Also where the files lie in folders of hours, of which there are none then; not a day whose folder is lacking."""
    (shop.root / "logs" / str(DAY)).mkdir(parents=True)
    for path in ("{date}/*", "{date}/*/", "{date}/*/*.json", "{date}"):
        assert listed(shop, f"{shop.root}/logs/{path}") == []
    (shop.root / "logs" / str(DAY)).rename(shop.root / "logs" / "2024-01-02")
    for path in ("{date}/*", "{date}/*/", "{date}/*/*.json", "{date}"):
        with pytest.raises(InputError, match="there"):
            listed(shop, f"{shop.root}/logs/{path}")


def test_a_fixed_folder_of_a_day_that_is_not_there_yet_is_waited_for(shop: Shop) -> None:
    """That of the shop's application is; and that of an alternative, too, with a stroke in it."""
    (shop.root / "logs" / str(DAY) / "app").mkdir(parents=True)
    for path in ("{date}/web/*.json", "{date}/web/*/*.json", "{date}/{web,web.uploading}/*.json"):
        with pytest.raises(InputError, match="there"):
            listed(shop, f"{shop.root}/logs/{path}")
    for path in ("{date}/app/*.json", "{date}/app/*/*.json", "{{date}/web,{date}/app}/*.json"):
        assert listed(shop, f"{shop.root}/logs/{path}") == []


def test_a_day_whose_file_is_gone_is_not_read_again_without_it(shop: Shop) -> None:
    path = f"{shop.root}/logs/2024-*/*"
    shop.write(1, [record("u", "01 10:00:00")])
    shop.clean(1, source__path=path)
    (shop.root / "logs" / str(DAY) / "1.json").unlink()
    shop.write(2, [record("v", "01 11:00:00")])
    outcome = shop.run(clean_events.JOB, 1, source__path=path)
    assert (outcome.exit_code, "read for 2024-01-01 are gone" in outcome.reason) == (3, True)
    assert shop.rows(EVENTS, "user_id") == [("u",)]
    shop.write(1, [])
    shop.clean(1, source__path=path)
    assert shop.rows(EVENTS, "user_id") == [("v",)]


def test_files_without_a_day_that_another_mapping_read_are_said_to_stay(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"{shop.root}/logs/2024-*/*"
    shop.write(1, [record("u", "01 10:00:00")])
    shop.clean(1, source__path=path)
    shop.write(2, [record("v", "02 10:00:00")])
    caplog.clear()
    shop.clean(2, source__path=path, source__columns__region="concat(item, kind)")
    assert "files first read for 2024-01-01 were read by another [source]" in caplog.text
    caplog.clear()
    shop.clean(1, source__path=path, source__columns__region="concat(item, kind)")
    assert "another [source]" not in caplog.text
    assert shop.rows(EVENTS, "user_id", "region") == [("u", "aview"), ("v", "aview")]


def test_a_file_beside_itself_packed_is_refused_with_both_names(shop: Shop) -> None:
    shop.write(1, [record("u", "01 10:00:00")])
    twin = shop.root / "logs" / "2024-01-01" / "1.json.GZ"
    twin.write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match=re.escape("1.json.GZ is ") + ".*1.json once more"):
        listed(shop, f"{shop.root}/logs/{{date}}/*")


@pytest.mark.parametrize("name", ["0000-00-00", "2024-02-30"])
def test_a_folder_of_a_day_that_no_calendar_has_is_named(shop: Shop, name: str) -> None:
    shop.write(1, [record("u", "01 10:00:00")])
    (shop.root / "logs" / "2024-01-01").rename(shop.root / "logs" / name)
    shop.write(1, [record("u", "01 10:00:00")])
    with pytest.raises(InputError, match=f"{name}/1.json is of {name}, a day that no calendar has"):
        list_files(shop.spark, shop.settings().source)
    assert listed(shop, f"{shop.root}/logs/{{date}}/*") == ["2024-01-01/1.json"]


def test_a_name_that_cannot_be_listed_is_said(shop: Shop) -> None:
    shop.write(1, [record("u", "01 10:00:00")], "10:00.json")
    with pytest.raises(InputError, match=r"10:00\.json"):
        listed(shop, f"{shop.root}/logs/{{date}}/*")
