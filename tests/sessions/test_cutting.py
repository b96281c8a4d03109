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
        ("price", pa.decimal128(18, 4)),
        ("quantity", pa.decimal128(18, 3)),
    ]
)
Event = tuple[str, str | None, int]


def batches(events: Sequence[Event], size: int = 100) -> Iterator[pa.RecordBatch]:
    """Events as (user, source session, minutes after START); the n-th event is of item n."""
    rows = [
        {"user_id": user, "source_session_id": source, "event_time": START + timedelta(minutes=minutes),
         "item_id": str(place), "event_type": "view", "price": None, "quantity": Decimal(1)}
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
