import gzip
import json
import os
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nextaisle import config, overlays
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.demo import write_demo_logs

LAST_EVENING = date(2017, 12, 31)
CHRISTMAS = date(2017, 12, 25)


def shop(tmp_path: Path, *assignments: str) -> Settings:
    paths = [f"source.path={tmp_path}/logs/{{date}}/*.json.gz", f"items.path={tmp_path}/logs/items.parquet"]
    return overlays.load([config.home() / "conf" / "local.toml"], [*paths, *assignments])


def lines_of(tmp_path: Path, day: date) -> list[dict[str, object]]:
    text = gzip.decompress((tmp_path / "logs" / str(day) / "purchases.json.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def test_the_last_evening_in_new_york_is_a_day_of_2017(tmp_path: Path) -> None:
    counts = write_demo_logs(shop(tmp_path), LAST_EVENING, LAST_EVENING)
    lines = lines_of(tmp_path, LAST_EVENING)
    assert counts == {"lines": 4950, "days": 1, "files_written": 1, "items": 92331}
    assert len(lines) == 4950
    assert lines[-1] == {
        "household_id": "2070",
        "basket_id": "41453083334",
        "product_id": "1061220",
        "store_id": "311",
        "quantity": 1,
        "sales_value": 1.19,
        "transaction_timestamp": "2018-01-01T04:01:20Z",
    }


@pytest.mark.slow
def test_the_year_has_every_line_once_and_money_in_cents(tmp_path: Path) -> None:
    counts = write_demo_logs(shop(tmp_path), None, None)
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(365)]
    lines = [line for day in days for line in lines_of(tmp_path, day)]
    assert counts["lines"] == len(lines) == 1_469_307
    assert len({line["household_id"] for line in lines}) == 2469
    assert all(round(float(str(line["sales_value"])), 2) == line["sales_value"] for line in lines)


def test_a_day_on_which_the_shop_was_closed_is_a_file_without_lines(tmp_path: Path) -> None:
    write_demo_logs(shop(tmp_path), CHRISTMAS, CHRISTMAS)
    assert lines_of(tmp_path, CHRISTMAS) == []


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    settings = shop(tmp_path, "demo.users=50")
    write_demo_logs(settings, date(2017, 3, 1), date(2017, 3, 3))
    files = [tmp_path / "logs" / "2017-03-02" / "purchases.json.gz", tmp_path / "logs" / "items.parquet"]
    for file in files:
        os.utime(file, (1, 1))
    assert write_demo_logs(settings, date(2017, 3, 1), date(2017, 3, 3))["files_written"] == 0
    assert [file.stat().st_mtime for file in files] == [1, 1]


def test_a_truncated_day_is_written_again(tmp_path: Path) -> None:
    settings, day = shop(tmp_path, "demo.users=50"), date(2017, 3, 1)
    write_demo_logs(settings, day, day)
    file = tmp_path / "logs" / "2017-03-01" / "purchases.json.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert write_demo_logs(settings, day, day)["files_written"] == 1
    assert file.read_bytes() == whole


def test_more_households_include_the_fewer(tmp_path: Path) -> None:
    day, found = date(2017, 3, 1), []
    for count in (20, 200):
        write_demo_logs(shop(tmp_path, f"demo.users={count}"), day, day)
        found.append({line["household_id"] for line in lines_of(tmp_path, day)})
    assert 0 < len(found[0]) <= 20
    assert found[0] < found[1]


def test_the_items_name_what_the_shop_sells(tmp_path: Path) -> None:
    write_demo_logs(shop(tmp_path, "demo.users=1"), CHRISTMAS, CHRISTMAS)
    items = pq.read_table(tmp_path / "logs" / "items.parquet")
    assert items.slice(0, 1).to_pylist() == [
        {
            "product_id": "25671",
            "department": "GROCERY",
            "brand": "National",
            "manufacturer_id": "2",
            "product_category": "FRZN ICE",
            "product_type": "ICE - CRUSHED/CUBED",
            "package_size": "22 LB",
        }
    ]


def test_a_shops_own_logs_are_never_written_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"demo\.is_source is false"):
        write_demo_logs(shop(tmp_path, "demo.is_source=false"), None, None)


def test_a_day_outside_the_year_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2017-01-01 to 2017-12-31, asked for 2018-01-01"):
        write_demo_logs(shop(tmp_path), date(2018, 1, 1), date(2018, 1, 1))
