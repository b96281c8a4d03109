from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pyspark.sql import Row, SparkSession

from jobs.nightly import days_asked_for
from nextaisle.changes import newest_day
from nextaisle.config import Settings
from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import JOB_RUNS
from nextaisle.job import Night
from nextaisle.nights import days_to_build
from nextaisle.storage.store import Store


def day(number: int) -> date:
    return date(2024, 1, number)


def finish_night(
    spark: SparkSession, store: Store, first: int, last: int, outcome: str = "done", year: int = 2024
) -> None:
    row = Row(
        run_id=f"{first}-{last}", job="nightly", first_date=day(first), last_date=day(last), job_key="", rules_key="",
        outcome=outcome, reason=None, versions_read={}, versions_written={}, rows={}, bytes_written=0,
        tracking_run_id=None, started_time=datetime(year, 2, last, tzinfo=UTC), seconds=1.0,
        run_number=store.current_version(JOB_RUNS), table_ids={}, bytes_read=None,
    )  # fmt: skip
    store.append(JOB_RUNS, spark.createDataFrame([row], JOB_RUNS.schema))


def test_a_first_night_builds_every_day_of_the_logs(store: Store) -> None:
    assert days_to_build(store, [day(3), day(1), day(2)], []) == (day(1), day(3))


def test_a_night_builds_the_days_that_no_finished_night_covers(spark: SparkSession, store: Store) -> None:
    finish_night(spark, store, 1, 2)
    finish_night(spark, store, 3, 3, outcome="failed")
    logged = [day(1), day(2), day(3)]
    assert days_to_build(store.fresh(), logged, []) == (day(3), day(3))
    # A file of a finished day that changed since it was read.
    assert days_to_build(store.fresh(), logged, [day(2)]) == (day(2), day(3))
    assert days_to_build(store.fresh(), logged[:2], [day(1)]) == (day(1), day(2))


def test_a_repeated_night_has_the_days_of_the_newest_finished_night(spark: SparkSession, store: Store) -> None:
    finish_night(spark, store, 1, 2)
    assert days_to_build(store.fresh(), [day(1), day(2)], []) == (day(1), day(2))
    # Whatever the clock says of which is the newest.
    finish_night(spark, store, 3, 3, year=2004)
    assert days_to_build(store.fresh(), [day(1), day(2)], []) == (day(3), day(3))


def test_a_night_of_logs_without_days_names_none_whatever_nights_before_it_did(
    spark: SparkSession, store: Store, settings: Settings
) -> None:
    """What is new would be read for the day of the newest night, and refused as of a day to come."""
    finish_night(spark, store, 1, 2)
    source = settings.source.model_copy(update={"path": "/logs/*.json"})
    night = Night(settings.model_copy(update={"source": source}), spark, store.fresh(), None, None)
    assert days_asked_for(night) == (None, None)
    assert days_asked_for(replace(night, first=day(3), last=day(3))) == (day(3), day(3))


def test_without_sessions_there_is_no_newest_day(store: Store) -> None:
    with pytest.raises(InputError, match="rejected_events"):
        newest_day(store, "UTC")
