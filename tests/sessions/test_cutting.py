from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nextaisle.sessions import cutting
from nextaisle.sessions.cutting import cut_sessions, session_starts

START = datetime(2024, 1, 1, 10, tzinfo=UTC)
MINUTE = 60_000_000
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("source_session_id", pa.string()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("item_id", pa.string()),
        ("event_type", pa.string()),
        ("event_date", pa.date32()),
        ("price", pa.decimal128(18, 4)),
        ("quantity", pa.decimal128(18, 3)),
    ]
)
Event = tuple[str, str | None, int]


def batches(events: Sequence[Event], size: int = 100) -> Iterator[pa.RecordBatch]:
    """Events as (user, source session, minutes after START); the n-th event is of item n."""
    rows = [
        {"user_id": user, "source_session_id": source, "event_time": START + timedelta(minutes=minutes),
         "event_date": START.date(), "item_id": str(place), "event_type": "view", "price": None, "quantity": Decimal(1)}
        for place, (user, source, minutes) in enumerate(events)
    ]  # fmt: skip
    return iter(pa.Table.from_pylist(rows, SCHEMA).to_batches(max_chunksize=size))


def cut(events: Sequence[Event], size: int = 100, hours: int = 24) -> list[dict[str, Any]]:
    found = cut_sessions(batches(events, size), 30 * MINUTE, hours * 60 * MINUTE)
    return [row for batch in found for row in batch.to_pylist()]


def items(sessions: list[dict[str, Any]]) -> list[str]:
    return [" ".join(session["item_ids"]) for session in sessions]


def test_a_gap_of_exactly_thirty_minutes_stays_in_the_session() -> None:
    assert items(cut([("u", None, 0), ("u", None, 30), ("u", None, 61)])) == ["0 1", "2"]


def test_a_session_is_cut_at_every_max_hours_from_its_start() -> None:
    every_twenty = [("u", None, minutes) for minutes in range(0, 201, 20)]
    assert items(cut(every_twenty, hours=1)) == ["0 1 2", "3 4 5", "6 7 8", "9 10"]


def test_the_cut_counts_from_the_first_event_of_the_part() -> None:
    assert items(cut([("u", None, minutes) for minutes in (0, 25, 50, 75, 100, 125, 134, 135)], hours=1)) == [
        "0 1 2", "3 4 5 6", "7"
    ]  # fmt: skip


def test_users_and_source_sessions_are_apart_and_none_is_a_source_session_of_its_own() -> None:
    events = [("u", None, 0), ("u", None, 1), ("u", "a", 0), ("u", "b", 1), ("v", "b", 1), ("v", "b", 2)]
    sessions = cut(events)
    assert items(sessions) == ["0 1", "2", "3", "4 5"]
    assert [(row["user_id"], row["source_session_id"]) for row in sessions] == [
        ("u", None), ("u", "a"), ("u", "b"), ("v", "b")
    ]  # fmt: skip


def test_a_session_says_when_it_started_when_it_ended_and_what_happened() -> None:
    (session,) = cut([("u", "a", 0), ("u", "a", 5)])
    assert (session["start_time"], session["end_time"]) == (START, START + timedelta(minutes=5))
    assert (session["event_count"], session["event_types"]) == (2, ["view", "view"])
    assert (session["prices"], session["quantities"]) == ([None, None], [Decimal(1), Decimal(1)])


def cut_of_types(
    events: Sequence[tuple[str, str | None, int]], size: int = 100, *collapsed: str
) -> list[dict[str, Any]]:
    """Sessions of one user's events of (type, item, minutes after START)."""
    rows = [
        {"user_id": "u", "event_time": START + timedelta(minutes=minutes), "item_id": item, "event_type": kind,
         "event_date": (START + timedelta(minutes=minutes)).date(), "price": Decimal(minutes)}
        for kind, item, minutes in events
    ]  # fmt: skip
    found = pa.Table.from_pylist(rows, SCHEMA).to_batches(max_chunksize=size)
    return [
        row for part in cut_sessions(iter(found), 30 * MINUTE, 24 * 60 * MINUTE, collapsed) for row in part.to_pylist()
    ]


REPEATED = [
    ("view", "a", 0), ("view", "a", 1), ("view", "a", 9), ("view", "b", 10), ("view", "a", 11), ("cart", "a", 12),
    ("cart", "a", 13), ("search", None, 14), ("search", None, 15), ("view", "b", 20), ("view", "b", 21),
    ("view", "b", 60), ("view", "b", 61),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 100])
def test_repetitions_of_a_view_become_the_first_of_them_with_their_count(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "BLOCK_EVENTS", size)
    first, second = cut_of_types(REPEATED, size, "view", "search")
    assert first["item_ids"] == ["a", "b", "a", "a", "a", None, None, "b"]
    assert first["counts"] == [3, 1, 1, 1, 1, 1, 1, 2]
    assert first["event_count"] == len(first["event_types"]) == len(first["prices"]) == 8
    assert (first["event_times"][0], first["prices"][0]) == (START, Decimal(0))
    # The session goes on to the last repetition, so that what follows within the gap stays in.
    assert first["end_time"] == START + timedelta(minutes=21)
    assert (second["start_time"], second["counts"]) == (START + timedelta(minutes=60), [2])


def test_each_day_keeps_its_first_event_of_a_run_over_midnight() -> None:
    midnight = 14 * 60
    (session,) = cut_of_types([("view", "a", midnight + n) for n in (-2, -1, 1, 2)], 100, "view")
    assert session["event_times"] == [START + timedelta(minutes=midnight + n) for n in (-2, 1)]
    assert session["counts"] == [2, 2]


def test_without_types_nothing_collapses_and_every_count_is_one() -> None:
    first, second = cut_of_types(REPEATED)
    assert (first["counts"], second["counts"]) == ([1] * 11, [1, 1])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_batches_may_end_anywhere(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_EVENTS", size)
    events = [(user, source, minute) for user in "uv" for source in "ab" for minute in (0, 10, 45, 50, 55, 99)]
    assert cut(events, size) == cut(events)
    assert items(cut(events, size))[:3] == ["0 1", "2 3 4", "5"]


def test_no_events_are_no_sessions() -> None:
    assert cut([]) == []


def test_starts_are_those_of_the_docstring() -> None:
    time = np.array([0, 30, 61, 90, 95, 121])
    assert session_starts(np.zeros(6, bool), time, gap=30, longest=60).tolist() == [0, 2, 5]
