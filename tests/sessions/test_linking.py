"""Ids that are one user: whatever the order in which events and links come, sessions are those of one build."""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import build_sequences, build_sessions, check_tables
from nextaisle import config
from nextaisle.changes import EVERYTHING
from nextaisle.config import Identities, Settings
from nextaisle.contract.errors import GateError
from nextaisle.contract.identities import with_linked_users
from nextaisle.contract.tables import IDENTITIES, SEQUENCES, SESSIONS
from nextaisle.job import execute
from nextaisle.sessions import Links, read_links, rebuild_linked_sessions, rebuild_sessions, refuse_lost
from nextaisle.storage.store import Store
from tests.sequences.events import ZONE, Event, events_of, in_new_york, publish

DAY = 24 * 60
DAYS = [date(2017, 3, 11) + timedelta(days=n) for n in range(4)]
Link = tuple[str, str, str]


def identities(path: Path, *links: Link) -> Identities:
    """Links as (id, user, day), the day "" where it is not known."""
    path.write_text("".join(f"{','.join(link)}\n" for link in [("cookie", "login", "day"), *links]))
    columns = {"id": "cookie", "user_id": "login", "linked_date": "day"}
    return Identities(
        path=str(path), format="csv", schema="", options={"header": "true"}, columns=columns, max_lost_share=1
    )


def in_order(rows: DataFrame) -> list[Any]:
    return sorted((tuple(row) for row in rows.collect()), key=repr)


def test_an_event_is_its_users_from_the_day_of_the_link_on_and_the_latest_link_counts(
    spark: SparkSession, tmp_path: Path
) -> None:
    links = [
        ("tablet", "bob", "2017-03-13"), ("tablet", "ann", "2017-03-12"), ("phone", "cid", ""), ("phone", "bea", ""),
        ("bea", "nobody", "2017-03-20"), (" ", "ann", ""),
    ]  # fmt: skip
    known = read_links(spark, identities(tmp_path / "links.csv", *links), ZONE)
    events = [Event("tablet", 60 + n * DAY) for n in range(3)] + [Event("phone", 60), Event("bea", 61), Event("e", 62)]
    found = with_linked_users(events_of(spark, events), known)
    assert found.columns == events_of(spark, events).columns
    rows = {row.event_id: row.user_id for row in found.collect()}
    assert list(map(rows.get, (event.row()["event_id"] for event in events))) == [
        "tablet", "ann", "bob", "bea", "bea", "e",
    ]  # fmt: skip


EVENTS = [
    # Over midnight as a cookie, then as ann; both in one session once they are one.
    Event("cookie", DAY - 10), Event("cookie", DAY + 5, "b"), Event("ann", DAY + 15, "c"), Event("ann", 3 * DAY),
    Event("cookie", 2 * DAY, "d"), Event("cookie", 2 * DAY + 9, "d", late=1), Event("other", DAY + 7),
    Event("other", 2 * DAY), Event("other", DAY - 7), Event("bob", 2 * DAY + 30, source="s"),
]  # fmt: skip


def whole(spark: SparkSession, settings: Settings, events: Iterable[Event]) -> list[Any]:
    links = read_links(spark, settings.identities, ZONE)
    linked = with_linked_users(events_of(spark, events), links)
    none = spark.createDataFrame([], SESSIONS.schema)
    return in_order(rebuild_sessions(linked, none, EVERYTHING, settings.sessions, ZONE).made.frame())


def test_links_of_which_most_are_gone_stop_the_night(spark: SparkSession, tmp_path: Path) -> None:
    def links(*ids: str) -> DataFrame:
        path = tmp_path / f"links{len(ids)}.csv"
        return read_links(spark, identities(path, *((each, "ann", "") for each in ids)), ZONE)

    before, half, none = links("a", "b"), links("a"), links()
    refuse_lost(Links(half, before), 0.5)
    refuse_lost(Links(before, none), 0)
    with pytest.raises(GateError, match=r"1 of the 2 ids that were linked are gone from .* max_lost_share = 0.4;"):
        refuse_lost(Links(half, before), 0.4)
    with pytest.raises(GateError, match="2 of the 2 ids"):
        refuse_lost(Links(none, before), 0.5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_links_that_come_late_change_or_go_reopen_the_sessions_of_those_concerned(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    tracked = settings.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    short = config.Sequences(max_events=5, daily_days=31)
    base = in_new_york(settings.model_copy(update={"tracking": tracked, "sequences": short}))
    store = Store(spark, base.store)

    def night(day: int, *links: Link) -> Settings:
        mine = base.model_copy(update={"identities": identities(tmp_path / "links.csv", *links)})
        arrived = [event for event in EVENTS if event.ingest_day <= DAYS[day]]
        publish(spark, mine, arrived)
        for job in (build_sessions.JOB, build_sequences.JOB):
            outcome = execute(job, mine, spark, DAYS[day], DAYS[day])
            assert outcome.exit_code == 0, outcome.reason
        assert in_order(store.fresh().read(SESSIONS)) == whole(spark, mine, arrived)
        assert in_order(store.fresh().read(IDENTITIES)) == in_order(read_links(spark, mine.identities, ZONE))
        return mine

    night(1)
    assert store.fresh().read(SESSIONS).where("user_id = 'cookie'").count() == 1
    night(2, ("cookie", "ann", "2017-03-12"))
    sessions = store.fresh().read(SESSIONS)
    assert sessions.where("user_id = 'cookie'").select("event_count").collect() == [(1,)]
    assert [row["item_ids"] for row in sessions.where("user_id = 'ann'").orderBy("start_time").collect()] == [
        ["b", "c"], ["d"],
    ]  # fmt: skip
    mine = night(3, ("cookie", "ann", "2017-03-12"), ("cookie", "bob", "2017-03-13"))
    checked = execute(check_tables.JOB, mine, spark, DAYS[0], DAYS[3])
    assert checked.exit_code == 0, checked.reason
    night(3, ("cookie", "ann", ""))
    histories = store.fresh().read(SEQUENCES).where("user_id = 'cookie'")
    assert histories.count() == 0
    night(3)


@pytest.mark.slow
def test_sessions_that_a_killed_run_left_with_other_links_are_made_anew(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    mine = in_new_york(settings.model_copy(update={"identities": identities(tmp_path / "links.csv")}))
    publish(spark, mine, EVENTS)
    assert execute(build_sessions.JOB, mine, spark, DAYS[0], DAYS[3]).exit_code == 0
    store = Store(spark, mine.store)
    # What a run does before it is killed, with a link that is gone when the next one begins.
    links = read_links(spark, identities(tmp_path / "other.csv", ("cookie", "ann", "")), ZONE)
    rebuilt = rebuild_linked_sessions(
        events_of(spark, EVENTS),
        store.read(SESSIONS),
        Links(links, store.read(IDENTITIES)),
        DAYS[3],
        mine.sessions,
        ZONE,
    )
    assert rebuilt.gone and f"session_date >= DATE'{DAYS[0]}'" in rebuilt.gone.where
    store.replace(SESSIONS, rebuilt.made, rebuilt.where, None, rebuilt.gone)
    assert in_order(store.fresh().read(SESSIONS)) != whole(spark, mine, EVENTS)
    assert execute(build_sessions.JOB, mine, spark, DAYS[3], DAYS[3]).exit_code == 0
    assert in_order(store.fresh().read(SESSIONS)) == whole(spark, mine, EVENTS)
