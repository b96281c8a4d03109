"""Small rows of the table sessions for the kernels, and the lookup of items named by their index."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from nextaisle.arrays import hashed
from nextaisle.sequences.vocabulary import Lookup

MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)
FIRST_DAY = 19723  # 2024-01-01, in days since 1970
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("is_seed", pa.bool_()),
        ("event_count", pa.int64()),
        ("source_session_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("event_types", pa.list_(pa.string())),
        ("event_times", pa.list_(pa.timestamp("us", "UTC"))),
        ("prices", pa.list_(pa.decimal128(18, 4))),
        ("is_session_start", pa.list_(pa.bool_())),
    ]
)


def session(
    user: str, hours: Sequence[float], items: Sequence[str | None], source: str | None = None, kind: str = "purchase"
) -> dict[str, Any]:
    """A session with events `hours` after 2024-01-01 00:00 UTC."""
    return {
        "user_id": user, "is_seed": False, "event_count": len(items), "source_session_id": source,
        "item_ids": list(items), "event_types": [kind] * len(items),
        "event_times": [MIDNIGHT + timedelta(hours=hour) for hour in hours],
        "prices": [None] * len(items), "is_session_start": [],
    }  # fmt: skip


def seed(user: str, hours: Sequence[float], items: Sequence[str], starts: Sequence[bool], count: int) -> dict[str, Any]:
    """A user's latest row of sequences, which stands for `count` events of which only these are left."""
    return session(user, hours, items) | {"is_seed": True, "event_count": count, "is_session_start": list(starts)}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def lookup(*item_ids: str) -> Lookup:
    """Items 1, 2, ... in this order."""
    hashes = hashed(pa.array(item_ids, pa.string()))
    order = np.argsort(hashes)
    return Lookup(hashes[order], (order + 1).astype(np.int32))
