from collections.abc import Callable
from datetime import date

import pytest
from pyspark.sql import DataFrame

from nextaisle.contract.as_of import histories_as_of
from nextaisle.scoring.histories import Exclude, with_earlier_items

MakeRows = Callable[..., DataFrame]
DAY = date(2024, 1, 10)


def as_of_day(sequences: DataFrame) -> DataFrame:
    return histories_as_of(sequences, DAY, ["item_indices"], 400, "UTC")


def test_a_history_is_that_of_the_latest_day_through_the_scored_one(sequences: MakeRows) -> None:
    rows = as_of_day(sequences(("u", 1, "e"), ("u", 10, "d"), ("u", 11, "c"), ("later", 11, "a")))
    assert [(row.user_id, row.item_indices) for row in rows.collect()] == [("u", [4])]


@pytest.mark.parametrize(
    ("exclude", "zone", "expected"),
    [
        ("none", "UTC", None),
        ("seen", "UTC", [2, 4, 5]),
        ("bought", "UTC", [2, 4]),
        ("seen", "Asia/Tokyo", [4, 5]),  # where 23:59 UTC of the tenth is the eleventh already
    ],
)
def test_sessions_tell_what_a_sequence_has_lost(
    sequences: MakeRows, sessions: MakeRows, items: DataFrame, exclude: Exclude, zone: str, expected: list[int] | None
) -> None:
    """u saw e, bought d and, at the end of the scored day, b; c came a day later, and whole has lost nothing."""
    bought = sessions(("u", 2, "dd"), ("u", 10, "b"), ("u", 11, "c"), ("whole", 2, "a"))
    visits = bought.unionByName(sessions(("u", 1, "e"), event_type="view"))
    histories = sequences(("u", 5, "b"), capped=True).unionByName(sequences(("whole", 5, "a")))
    rows = with_earlier_items(as_of_day(histories), visits, items, exclude, DAY, zone).collect()
    found = {row.user_id: row.earlier_indices and sorted(row.earlier_indices) for row in rows}
    assert found == {"u": expected, "whole": None}
