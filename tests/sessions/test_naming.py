from datetime import UTC, date, datetime
from hashlib import sha256

import pyarrow as pa
import pytest

from nextaisle.sessions.naming import named, session_id


@pytest.mark.parametrize(
    ("source", "expected"), [(None, "1 u 1000000 none"), ("none", "1 u 1000000 =none"), ("é=", "1 u 1000000 =é=")]
)
def test_an_id_is_that_of_every_release(source: str | None, expected: str) -> None:
    """The first 32 of a SHA-256's hexadecimal digits, as Spark's sha2 and any other tool gives them."""
    assert session_id("u", 1_000_000, source) == sha256(expected.encode()).hexdigest()[:32]


def test_a_session_belongs_to_the_shops_day_of_its_start() -> None:
    start = datetime(2017, 3, 12, 4, 59, 59, tzinfo=UTC)
    cut = pa.RecordBatch.from_pylist(
        [{"user_id": "u", "source_session_id": None, "start_time": start, "event_count": 1}],
        pa.schema([("user_id", pa.string()), ("source_session_id", pa.string()),
                   ("start_time", pa.timestamp("us", "UTC")), ("event_count", pa.int32())]),
    )  # fmt: skip
    row = named(cut, "America/New_York").to_pylist()[0]
    assert (row["session_date"], row["event_count"]) == (date(2017, 3, 11), 1)
    assert row["session_id"] == session_id("u", 1_489_294_799_000_000, None)
