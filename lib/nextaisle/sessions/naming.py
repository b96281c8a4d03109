"""The id and the day of each session, from its own data alone: no other user's events can change them."""

from hashlib import sha256
from typing import Final

import numpy as np
import pyarrow as pa

from nextaisle.days import days_of

_ID_LENGTH: Final = 32


def named(sessions: pa.RecordBatch, zone: str) -> pa.RecordBatch:
    """Sessions as cut_sessions gives them, with session_id, and with session_date: the day, in `zone`, of the start."""
    start = sessions.column("start_time").cast(pa.int64()).to_numpy()
    days = pa.array(days_of(start, zone).astype(np.int32)).cast(pa.date32())
    parts = (sessions.column("user_id").to_pylist(), start.tolist(), sessions.column("source_session_id").to_pylist())
    ids = pa.array([session_id(*part) for part in zip(*parts, strict=True)], pa.string())
    names = ["session_id", "session_date", *sessions.schema.names]
    return pa.RecordBatch.from_arrays([ids, days, *sessions.columns], names)


def session_id(user: str, start: int, source: str | None) -> str:
    """128 bits of a SHA-256; `start` in microseconds since 1970.

    Each part has its length or a word of its own, so that no two trails are written alike.
    """
    text = f"{len(user)} {user} {start} {'none' if source is None else f'={source}'}"
    return sha256(text.encode()).hexdigest()[:_ID_LENGTH]
