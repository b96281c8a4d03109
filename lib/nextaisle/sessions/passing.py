"""Which sessions the next day may prolong: they lie in files of their own, the only ones that it writes again."""

import numpy as np
import pyarrow as pa

from nextaisle.days import days_of
from nextaisle.storage.parquet_files import IS_PASSING


def with_passing(sessions: pa.RecordBatch, gap: int, zone: str) -> pa.RecordBatch:
    """Sessions, and of each whether the first `gap` microseconds after it are of a later day than it began on."""
    ends = sessions.column("end_time").cast(pa.int64()).to_numpy()
    is_passing = days_of(ends + gap, zone) > sessions.column("session_date").cast(pa.int32()).to_numpy()
    return pa.RecordBatch.from_arrays(
        [*sessions.columns, pa.array(np.asarray(is_passing))], [*sessions.schema.names, IS_PASSING]
    )
