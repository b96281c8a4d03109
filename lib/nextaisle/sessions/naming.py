"""The id of each session, from its own data alone: no other user's events can change it."""

from hashlib import sha256
from typing import Final

import pyarrow as pa

_ID_LENGTH: Final = 32


def named(sessions: pa.RecordBatch) -> pa.RecordBatch:
    """Sessions as cut_sessions gives them, with session_id before all else."""
    start = sessions.column("start_time").cast(pa.int64()).to_pylist()
    parts = (sessions.column("user_id").to_pylist(), start, sessions.column("source_session_id").to_pylist())
    ids = pa.array([session_id(*part) for part in zip(*parts, strict=True)], pa.string())
    return pa.RecordBatch.from_arrays([ids, *sessions.columns], ["session_id", *sessions.schema.names])


def session_id(user: str, start: int, source: str | None) -> str:
    """128 bits of a SHA-256; `start` in microseconds since 1970.

    Each part has its length or a word of its own, so that no two trails are written alike.
    """
    text = f"{len(user)} {user} {start} {'none' if source is None else f'={source}'}"
    return sha256(text.encode()).hexdigest()[:_ID_LENGTH]
