"""A shop whose log is a table of a real database: Derby, which comes with Spark."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import clean_events, fetch_database_logs
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.tables import EVENTS
from nextaisle.job import Outcome, execute
from nextaisle.storage.store import Store

FIRST, LAST = date(2024, 7, 1), date(2024, 7, 2)
ACTS = [
    ("'ann'", "'tea'", "'2024-07-01 23:30:00'", "2.50"),
    ("'bob'", "'jam'", "'2024-07-02 00:10:00'", "null"),
    ("'ann'", "null", "'2024-07-02 09:00:00'", "1.25"),
]
Execute = Callable[[str], None]


@pytest.fixture
def database(spark: SparkSession, tmp_path: Path) -> tuple[str, Execute]:
    """The URL of a database with the table `acts`, and what executes a statement there."""
    url = f"jdbc:derby:{tmp_path}/shop"
    jvm: Any = spark._jvm
    connection = jvm.org.apache.derby.iapi.jdbc.AutoloadedDriver().connect(
        f"{url};create=true", jvm.java.util.Properties()
    )

    def run(statement: str) -> None:
        connection.createStatement().execute(statement)

    run(
        "create table acts (did varchar(20), who varchar(20), what varchar(20), at_time timestamp, price decimal(9, 2))"
    )
    for values in ACTS:
        run(f"insert into acts values ('purchase', {', '.join(values)})")
    return url, run


def shop(root: Path, url: str, **changes: str) -> Settings:
    sets = {
        "database.url": url, "database.query": "select * from acts where cast(at_time as date) = date('{date}')",
        "database.options.driver": "org.apache.derby.iapi.jdbc.AutoloadedDriver",
        "source.path": f"{root}/logs/{{date}}/*.parquet", "source.format": "parquet",
        "source.time_zone": "Europe/Berlin", "store.root": f"{root}/tables",
        "source.columns": "{user_id='who', item_id='what', event_time='at_time', price='price', event_type='did'}",
        "events.max_rejected_share": "1",
    }  # fmt: skip
    return overlays.load(assignments=[f"{key}={value}" for key, value in (sets | changes).items()])


def fetch(spark: SparkSession, settings: Settings, first: date | None = FIRST, last: date | None = LAST) -> Outcome:
    return execute(fetch_database_logs.JOB, settings, spark, first, last)


def test_days_of_a_database_become_events(spark: SparkSession, tmp_path: Path, database: tuple[str, Execute]) -> None:
    """Its times have no zone: half past eleven at night in Berlin is half past nine in UTC."""
    settings = shop(tmp_path, database[0])
    assert fetch(spark, settings).rows == {"days": 2, "days_brought": 2, "rows": 3}
    outcome = execute(clean_events.JOB, settings, spark, FIRST, LAST)
    assert outcome.rows["rejected_missing_item"] == 1, outcome.reason
    rows = Store(spark, settings.store).read(EVENTS).orderBy("event_time").collect()
    assert [(row.user_id, row.event_date, row.event_time.hour, row.ingest_date, row.price) for row in rows] == [
        ("ann", FIRST, 21, FIRST, pytest.approx(2.5)),
        ("bob", LAST, 22, LAST, None),
    ]


def test_a_day_that_was_brought_stays_and_one_cut_short_is_brought_again(
    spark: SparkSession, tmp_path: Path, database: tuple[str, Execute]
) -> None:
    url, run = database
    settings = shop(tmp_path, url)
    (cut_short := tmp_path / "logs" / f".{LAST}").mkdir(parents=True)
    (cut_short / "part.parquet").write_text("half of it")
    (tmp_path / "logs" / str(LAST)).mkdir()
    assert fetch(spark, settings).rows == {"days": 2, "days_brought": 2, "rows": 3}
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [str(FIRST), str(LAST)]
    run("delete from acts")
    assert fetch(spark, settings).rows == {"days": 2, "days_brought": 0, "rows": 0}
    shutil.rmtree(tmp_path / "logs" / str(LAST))
    assert fetch(spark, settings).rows == {"days": 2, "days_brought": 1, "rows": 0}
    # A day on which nothing was done is a day without events, and no missing input.
    outcome = execute(clean_events.JOB, settings, spark, LAST, LAST)
    assert outcome.exit_code == 0, outcome.reason
    assert outcome.rows["records"] == 0


def test_files_that_others_have_laid_down_stay(
    spark: SparkSession, tmp_path: Path, database: tuple[str, Execute]
) -> None:
    (log := tmp_path / "logs" / str(FIRST) / "shop.parquet").parent.mkdir(parents=True)
    log.write_text("the shop's own")
    outcome = fetch(spark, shop(tmp_path, database[0]), FIRST, FIRST)
    assert (outcome.exit_code, str(log.parent) in outcome.reason) == (3, True)
    assert log.read_text() == "the shop's own"


def test_what_the_database_refuses_is_said_and_nothing_is_kept(
    spark: SparkSession, tmp_path: Path, database: tuple[str, Execute]
) -> None:
    outcome = fetch(spark, shop(tmp_path, database[0], **{"database.query": "select * from actz /* {date} */"}))
    assert outcome.exit_code == 3
    assert "ACTZ" in outcome.reason
    assert not list((tmp_path / "logs").rglob("*.parquet"))


def test_a_night_of_a_database_needs_a_day(spark: SparkSession, tmp_path: Path) -> None:
    outcome = fetch(spark, shop(tmp_path, "jdbc:derby:none"), None, None)
    assert outcome.exit_code == 2
    assert "--date" in outcome.reason


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("database.url", "postgresql://host/shop", "jdbc:postgresql://"),
        ("database.query", "select * from acts", "{date}"),
        ("database.options.password", "hunter2", "password_variable"),
    ],
)
def test_a_wrong_setting_is_said_and_no_secret(tmp_path: Path, key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        shop(tmp_path, "jdbc:derby:none", **{key: value})
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_per_day_and_a_password_must_be_there(spark: SparkSession, tmp_path: Path) -> None:
    outcome = fetch(spark, shop(tmp_path, "jdbc:derby:none", **{"source.path": f"{tmp_path}/*.parquet"}))
    assert (outcome.exit_code, "folder per day" in outcome.reason) == (2, True)
    outcome = fetch(spark, shop(tmp_path, "jdbc:derby:none", **{"database.password_variable": "NEXTAISLE_NO_SUCH"}))
    assert (outcome.exit_code, "NEXTAISLE_NO_SUCH" in outcome.reason) == (2, True)
