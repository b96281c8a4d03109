from datetime import UTC, datetime
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


def test_each_session_has_its_own_id() -> None:
    start, schema = datetime(2017, 3, 12, 4, 59, 59, tzinfo=UTC), [("user_id", pa.string())]
    schema += [("source_session_id", pa.string()), ("start_time", pa.timestamp("us", "UTC"))]
    rows = [{"user_id": user, "source_session_id": None, "start_time": start} for user in "uv"]
    found = named(pa.RecordBatch.from_pylist(rows, pa.schema(schema))).to_pylist()
    expected = [session_id(user, 1_489_294_799_000_000, None) for user in "uv"]
    assert [(row["session_id"], row["user_id"]) for row in found] == list(zip(expected, "uv", strict=True))
