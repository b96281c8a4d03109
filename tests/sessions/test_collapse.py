"""Sessions whose repeated views are one: night by night as at once, and for all that reads sessions."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import build_profiles, build_sequences, build_sessions, check_tables
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, SEQUENCES, SESSIONS, USER_PROFILES
from nextaisle.job import execute
from nextaisle.sessions import rebuild_sessions
from nextaisle.storage.store import Store
from tests.profiles.shop import DAYS, Event, events_of, random_log
from tests.sequences.events import in_new_york

NEWEST = DAYS[-1] + timedelta(days=2)


def in_order(rows: DataFrame) -> list[Any]:
    return sorted((tuple(row) for row in rows.collect()), key=repr)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nights_equal_one_build_and_sequences_profiles_and_checks_take_a_run_for_one_event(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    collapsing = settings.sessions.model_copy(update={"collapse_types": ("view",)})
    tracked = settings.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    mine = in_new_york(settings.model_copy(update={"sessions": collapsing, "tracking": tracked}))
    # w looks at one item from before midnight until after it.
    runs = [Event("w", 24 * 60 - 2 + n, item="c1") for n in range(5)] + [Event("w", 24 * 60 + 4, item="b1")]
    events = [*random_log(seed=1, users=12), *runs]

    def night(first: date, last: date) -> None:
        arrived = events_of(spark, [event for event in events if event.ingest_day <= last])
        Store(spark, mine.store).replace(EVENTS, arrived, "event_date IS NOT NULL")
        for job in (build_sessions.JOB, build_sequences.JOB, build_profiles.JOB):
            outcome = execute(job, mine, spark, first, last)
            assert outcome.exit_code == 0, outcome.reason

    night(DAYS[0], DAYS[3])
    night(DAYS[4], NEWEST)
    store = Store(spark, mine.store)
    none = spark.createDataFrame([], SESSIONS.schema)
    whole = rebuild_sessions(events_of(spark, events), none, EVERYTHING, mine.sessions, mine.source.time_zone)
    assert in_order(store.read(SESSIONS)) == in_order(whole.rows)
    (visit,) = store.read(SESSIONS).where("user_id = 'w'").collect()
    assert (visit["item_ids"], visit["counts"], visit["event_count"]) == (["c1", "c1", "b1"], [2, 3, 1], 3)
    history = store.read(SEQUENCES).where("user_id = 'w'").orderBy("as_of_date").collect()
    assert [row["item_ids"] for row in history] == [["c1"], ["c1", "c1", "b1"]]
    profiles = store.read(USER_PROFILES).where("user_id = 'w'").orderBy("as_of_date").collect()
    assert [row["event_counts"] for row in profiles] == [{"view": 1}, {"view": 3}]
    checked = execute(check_tables.JOB, mine, spark, DAYS[0], NEWEST)
    assert checked.exit_code == 0, checked.reason
