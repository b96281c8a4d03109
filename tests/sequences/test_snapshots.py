from typing import Any

import pyarrow as pa
import pytest

from nextaisle.contract.errors import SchemaError
from nextaisle.sequences import snapshots
from nextaisle.sequences.snapshots import sequence_rows
from tests.sequences.rows import FIRST_DAY, lookup, seed, session, table

ITEMS = lookup(*"abcdefg")


def rows_of(rows: pa.Table, first_day: int = 0, max_events: int = 3, zone: str = "UTC") -> list[dict[str, Any]]:
    batches = sequence_rows(rows, ITEMS, zone, FIRST_DAY + first_day, max_events)
    return [row for batch in batches for row in batch.to_pylist()]


def shown(rows: list[dict[str, Any]]) -> list[str]:
    """As `u 2 bcd 4`: user, day of January, items, events ever."""
    return [f"{r['user_id']} {r['as_of_date'].day} {''.join(r['item_ids'])} {r['event_count']}" for r in rows]


def test_each_day_has_the_history_through_its_end_the_oldest_forgotten() -> None:
    rows = table(session("u", [1, 2], "ab"), session("u", [50, 51], "cd"), session("v", [1], "e"))
    assert shown(rows_of(rows)) == ["u 1 ab 2", "u 3 bcd 4", "v 1 e 1"]


def test_a_session_over_midnight_adds_its_later_events_to_the_next_day() -> None:
    assert shown(rows_of(table(session("u", [23, 23.9, 24.2], "abc")))) == ["u 1 ab 2", "u 2 abc 3"]


def test_a_day_is_one_of_the_shops_zone() -> None:
    # 04:30 UTC on the first is still the last day of the year in New York.
    rows = table(session("u", [4.5, 5.5], "ab"))
    assert shown(rows_of(rows, first_day=-1, zone="America/New_York")) == ["u 31 a 1", "u 1 ab 2"]


def test_searches_and_days_without_an_item_leave_no_trace() -> None:
    rows = table(session("u", [1, 2, 3], [None, "a", None]), session("u", [30], [None]))
    assert shown(rows_of(rows)) == ["u 1 a 1"]


def test_users_who_only_searched_have_no_row() -> None:
    assert rows_of(table(session("u", [1, 2], [None, None]))) == []


def test_a_seed_stands_for_what_came_before() -> None:
    rows = table(seed("u", [1, 2, 3], "abc", [True, False, True], count=9), session("u", [25], "d"))
    (row,) = rows_of(rows, first_day=1)
    assert shown([row]) == ["u 2 bcd 10"]
    assert row["is_session_start"] == [False, True, True]
    assert row["item_indices"] == [2, 3, 4]


def test_what_a_session_over_midnight_did_before_is_in_the_seed_already() -> None:
    whole = rows_of(table(session("u", [22, 23, 25], "abc"), session("u", [49], "d")))
    rows = table(seed("u", [22, 23], "ab", [True, False], count=2), session("u", [22, 23, 25], "abc"),
                 session("u", [49], "d"))  # fmt: skip
    assert rows_of(rows, first_day=1) == whole[1:]


def test_a_user_with_a_seed_alone_has_no_row() -> None:
    rows = table(seed("u", [1], "a", [True], count=1), session("v", [25], "b"))
    assert shown(rows_of(rows, first_day=1)) == ["v 2 b 1"]


def test_lists_that_are_not_in_step_are_refused() -> None:
    rows = table(session("u", [1], "a") | {"prices": None}, session("v", [1], "b") | {"prices": [None, None]})
    with pytest.raises(SchemaError, match="prices has 0 values for the 1 events in a row of user 'u'"):
        rows_of(rows)


@pytest.mark.parametrize("batch_events", [1, 4])
def test_batches_are_small_however_often_a_history_is_repeated(
    batch_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table(*(session("u", [24 * day], "abcdefg"[day]) for day in range(7)))
    whole = rows_of(rows)
    monkeypatch.setattr(snapshots, "_BATCH_EVENTS", batch_events)
    assert rows_of(rows) == whole
    assert len(whole) == 7
