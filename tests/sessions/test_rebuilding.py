from datetime import date, timedelta

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Sessions
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import SESSIONS
from nextaisle.sessions import rebuild_sessions
from nextaisle.storage.store import Store
from tests.sequences.events import MIDNIGHT, ZONE, Event, events_of

RULES = Sessions(gap_minutes=30, max_hours=24, collapse_types=())
DAY = 24 * 60
FIRST = date(2017, 3, 11)


def sessions(spark: SparkSession, *events: Event) -> list[Row]:
    none = spark.createDataFrame([], SESSIONS.schema)
    rebuilt = rebuild_sessions(events_of(spark, events), none, EVERYTHING, RULES, ZONE)
    return check_schema(rebuilt.made.frame(), SESSIONS).orderBy("user_id", "start_time").collect()


def test_a_session_belongs_to_the_day_it_started_in_the_shops_zone(spark: SparkSession) -> None:
    first, second = sessions(
        spark, Event("u", DAY - 5), Event("u", DAY + 5), Event("v", DAY + DAY - 61), Event("v", DAY + DAY - 59)
    )
    assert (first.session_date, first.event_count) == (date(2017, 3, 11), 2)
    # The day of the clock change has 23 hours.
    assert (second.session_date, second.start_time.replace(tzinfo=MIDNIGHT.tzinfo)) == (
        date(2017, 3, 12), Event("v", DAY + DAY - 61).time
    )  # fmt: skip


def test_events_of_one_instant_come_in_the_order_of_their_ids(spark: SparkSession) -> None:
    by_id = {"2": "x", "10": "y", "3": None, "1": "z"}
    (session,) = sessions(spark, *(Event("u", 0, item, id=event_id) for event_id, item in by_id.items()))
    assert session.item_ids == ["z", "y", "x", None]


def test_ids_differ_by_user_start_and_source_session_and_by_nothing_else(spark: SparkSession) -> None:
    trails = [("u", 0, None), ("u", 100, None), ("v", 0, None), ("u", 0, "none"), ("u", 0, ""), ("u 0", 0, None)]
    events = [Event(user, minutes, source=source) for user, minutes, source in trails]
    alone = {row.session_id for row in sessions(spark, *events)}
    longer = {
        row.session_id
        for row in sessions(spark, *events, *(Event(e.user, e.minutes + 9, source=e.source) for e in events))
    }
    assert len(alone) == len(trails)
    assert alone == longer
    assert all(len(session_id) == 32 for session_id in alone)


def test_only_sessions_that_midnight_may_prolong_are_written_again(spark: SparkSession, store: Store) -> None:
    """Of the first day: early ends long before midnight, near 30 minutes before it, late goes on after it."""
    before = [Event("early", DAY - 31), Event("near", DAY - 30), Event("late", DAY - 50), Event("late", DAY - 25)]
    after = [Event("late", DAY + 5), Event("early", DAY + 60)]

    def night(events: list[Event], first: date) -> dict[str, str]:
        """The file of each user's session of the first day."""
        earlier = store.fresh().read(SESSIONS)
        rebuilt = rebuild_sessions(events_of(spark, events), earlier, first, RULES, ZONE)
        store.fresh().replace(SESSIONS, rebuilt.made, rebuilt.where, first, rebuilt.gone)
        found = store.fresh().read(SESSIONS).where(f"session_date = DATE'{FIRST}'")
        named = found.select("user_id", F.col("_metadata.file_name").alias("file")).collect()
        return {row["user_id"]: row["file"] for row in named}

    files = night(before, EVERYTHING)
    assert files["early"] not in (files["near"], files["late"])
    again = night([*before, *after], FIRST + timedelta(days=1))
    assert again["early"] == files["early"]
    assert again["late"] != files["late"]
    assert store.fresh().read(SESSIONS).orderBy("user_id", "start_time").collect() == sessions(spark, *before, *after)
