from datetime import date

import pytest
from pyspark.sql import SparkSession

from nextaisle import config
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import EXAMPLES, ITEMS, SESSIONS
from nextaisle.sequences import examples_of
from nextaisle.sessions import rebuild_sessions
from tests.sequences.events import Event, events_of, in_new_york

DAY = 24 * 60
EPOCH = date(1970, 1, 1)
# Four days of u; the search has no place in a history, and the last event belongs to the day after.
EVENTS = [Event("u", DAY * day + 60, f"i{day}") for day in range(4)] + [Event("u", 62, None), Event("u", 4 * DAY, "i4")]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("time", {"train": [2, 0, 0, 0], "validation": [0, 3, 0, 0], "test": [0, 0, 4, 0]}),
        ("leave-one-out", {"train": [2, 0, 0, 0], "validation": [0, 3, 0, 0], "test": [0, 0, 4, 0]}),
    ],
)
def test_each_target_is_in_one_window_of_its_split(
    protocol: str, expected: dict[str, list[int]], spark: SparkSession, settings: Settings
) -> None:
    evaluation = settings.evaluation.model_copy(update={"window_days": 1, "protocol": protocol})
    changes = {"evaluation": evaluation, "examples": config.Examples(length=4, stride=3)}
    mine = in_new_york(settings).model_copy(update=changes)
    none = spark.createDataFrame([], SESSIONS.schema)
    zone = mine.source.time_zone
    sessions = rebuild_sessions(events_of(spark, EVENTS), none, EVERYTHING, mine.sessions, zone).made.frame()
    rows = [{"item_id": f"i{n}", "item_index": n + 1, "valid_from": EPOCH, "first_seen_date": EPOCH,
             "last_seen_date": EPOCH} for n in range(5)]  # fmt: skip
    items = spark.createDataFrame(rows, ITEMS.schema)
    found = check_schema(examples_of(sessions, items, date(2017, 3, 14), mine), EXAMPLES).collect()
    assert {row.split: row.target_indices for row in found} == expected
    test = next(row for row in found if row.split == "test")
    assert (test.length, test.item_indices, test.event_type_indices) == (3, [1, 2, 3, 0], [6, 6, 6, 0])
    assert test.is_session_end == [1, 1, 1, 0]
    assert len({row.example_id for row in found}) == 3
