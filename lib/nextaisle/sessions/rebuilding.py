"""Events to rows of the table sessions: one shuffle by user, one sort, then the kernel of cutting.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Sessions
from nextaisle.contract.tables import SESSIONS
from nextaisle.sessions.cutting import cut_sessions
from nextaisle.sessions.naming import named
from nextaisle.sessions.passing import with_passing
from nextaisle.spark import staged
from nextaisle.storage.kernels import ArrowRows, Batches, Part
from nextaisle.storage.partitions import Gone

_TRAIL = ("user_id", "source_session_id")
_EVENT = ("event_date", "event_time", "event_id", "item_id", "event_type", "price", "quantity")
# A session is at most 24 hours long and stays open for at most as long again: days are 23 to 25 hours.
_DAYS_OPEN = timedelta(days=3)
# Trails, or sessions, that a broadcast carries with ease.
_FEW = 200_000


@dataclass(frozen=True)
class Rebuilt:
    """Rows of sessions: all of the days from `first` on, and of days before what takes the place of `gone`."""

    made: ArrowRows
    first: date
    gone: Gone | None = None

    @property
    def where(self) -> str:
        return f"session_date >= DATE'{self.first:%Y-%m-%d}'"


def rebuild_sessions(events: DataFrame, sessions: DataFrame, first: date, rules: Sessions, zone: str) -> Rebuilt:
    """The sessions that depend on events of the day `first` and later; `sessions` are those of an earlier build.

    A session that was open when `first` began keeps its start, and is cut anew from its events.
    """
    if first == EVERYTHING:
        return Rebuilt(sessions_of(events, rules, zone), EVERYTHING)
    changed = events.where(F.col("event_date") >= F.lit(first))
    open_trails = _sized(_open_trails(sessions, first, rules, zone))
    since = open_trails.agg(F.min("open_date").alias("day")).collect()[0]["day"]
    if since is None:
        return Rebuilt(sessions_of(changed, rules, zone), first)
    before = F.col("event_date").between(F.lit(since), F.lit(first - timedelta(days=1)))
    taken_back = _joined(events.where(before), open_trails, "event_time", "left_semi")
    opened = _joined(_between(sessions, since, first), open_trails, "start_time", "left_semi")
    gone = Gone(_sized(opened.select("session_id")), _between_days(since, first))
    return Rebuilt(sessions_of(changed.unionByName(taken_back), rules, zone), first, gone)


def rebuild_in_part(
    events: DataFrame, sessions: DataFrame, users: DataFrame, since: date, first: date, rules: Sessions, zone: str
) -> Rebuilt:
    """As `rebuild_sessions` from `first` on, but of `users` (user_id) from the earlier day `since` on."""
    their_events, their_sessions = (rows.join(users, "user_id", "left_semi") for rows in (events, sessions))
    other_events, other_sessions = (rows.join(users, "user_id", "left_anti") for rows in (events, sessions))
    theirs = rebuild_sessions(their_events, their_sessions, since, rules, zone)
    others = rebuild_sessions(other_events, other_sessions, first, rules, zone)
    opened = [rebuilt.gone for rebuilt in (theirs, others) if rebuilt.gone]
    keys = _between(their_sessions, since, first).select("session_id")
    for gone in opened:
        keys = keys.unionByName(gone.keys)
    where = " OR ".join(f"({each})" for each in (_between_days(since, first), *(gone.where for gone in opened)))
    made = ArrowRows(SESSIONS, (*theirs.made.parts, *others.made.parts))
    return Rebuilt(made, first, Gone(_sized(keys), where))


def sessions_of(events: DataFrame, rules: Sessions, zone: str) -> ArrowRows:
    """All sessions of these events.

    | user | event_time | event_id |      | user | start_time | event_times        |
    |------|------------|----------|      |------|------------|--------------------|
    | u    | 10:00      | a        |      | u    | 10:00      | 10:00 10:30        |
    | u    | 10:30      | b        |  ->  | u    | 11:01      | 11:01              |
    | u    | 11:01      | c        |
    """
    gap, longest = rules.gap_minutes * 60_000_000, rules.max_hours * 3_600_000_000

    def cut(batches: Batches) -> Iterator[pa.RecordBatch]:
        for sessions in cut_sessions(batches, gap, longest, rules.collapse_types):
            yield with_passing(named(sessions), gap, zone)

    # Numbers sort in four fifths of the time of names; the names behind them part users of one hash.
    user_hash = F.xxhash64("user_id").alias("user_hash")
    narrow = events.select(user_hash, *_TRAIL, *_EVENT)
    by_user = narrow.repartition("user_hash").sortWithinPartitions("user_hash", *_TRAIL, "event_time", "event_id")
    return ArrowRows(SESSIONS, (Part(by_user.drop("user_hash", "event_id"), cut),))


def count_sessions(sessions: DataFrame, rules: Sessions) -> dict[str, int]:
    """sessions, the events that they hold and, where repetitions collapse, how many of them were left out for it."""
    counts = {"sessions": F.count("*"), "events": F.coalesce(F.sum("event_count"), F.lit(0))}
    if rules.collapse_types:
        ones = F.transform("event_times", lambda _: F.lit(1))
        happened = F.aggregate(F.coalesce("counts", ones), F.lit(0), lambda total, count: total + count)
        counts["collapsed"] = F.coalesce(F.sum(happened - F.col("event_count")), F.lit(0))
    return sessions.agg(*(column.alias(name) for name, column in counts.items())).collect()[0].asDict()


def _open_trails(sessions: DataFrame, first: date, rules: Sessions, zone: str) -> DataFrame:
    """Trails with a session that an event on `first` could have prolonged: (trail, open_start, open_date)."""
    midnight = F.to_utc_timestamp(F.lit(first).cast("timestamp"), zone)
    is_near = F.col("session_date").between(F.lit(first - _DAYS_OPEN), F.lit(first - timedelta(days=1)))
    is_open = F.col("end_time") >= midnight - F.make_dt_interval(mins=F.lit(rules.gap_minutes))
    starts = (F.min("start_time").alias("open_start"), F.min("session_date").alias("open_date"))
    return sessions.where(is_near & is_open).groupBy(*_TRAIL).agg(*starts)


def _sized(rows: DataFrame) -> DataFrame:
    """The rows, computed once, and for a broadcast where they are few: what is staged has no size for Spark to see."""
    once = staged(rows, rows.columns[0])
    return F.broadcast(once) if once.count() <= _FEW else once


def _between_days(first: date, end: date) -> str:
    return f"session_date >= DATE'{first:%Y-%m-%d}' AND session_date < DATE'{end:%Y-%m-%d}'"


def _between(sessions: DataFrame, first: date, end: date) -> DataFrame:
    return sessions.where(_between_days(first, end))


def _joined(rows: DataFrame, open_trails: DataFrame, time: str, how: str) -> DataFrame:
    left, right = rows.alias("rows"), open_trails.alias("trails")
    same = [F.col(f"rows.{name}").eqNullSafe(F.col(f"trails.{name}")) for name in _TRAIL]
    return left.join(right, [*same, F.col(f"rows.{time}") >= F.col("trails.open_start")], how)
