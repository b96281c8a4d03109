"""Instants to days of the shop, in NumPy."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400_000_000  # microseconds


def days_of(time: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Days since 1970-01-01, in `zone`, of instants in microseconds since 1970, UTC.

    | instant               | America/New_York |
    |-----------------------|------------------|
    | 2017-03-12 04:59:59 Z | 2017-03-11       |
    | 2017-03-12 05:00:00 Z | 2017-03-12       |
    | 2017-03-13 04:00:00 Z | 2017-03-13, after a day of 23 hours |
    """
    if not len(time):
        return np.zeros(0, np.int64)
    # Local time is within a day of UTC. Whole years, so that the blocks of a stream share what was computed.
    first, last = (int(day) // 366 for day in (time.min() // _DAY - 2, time.max() // _DAY + 2))
    starts = _day_starts(zone, first * 366, (last + 1) * 366)
    return first * 366 + np.searchsorted(starts, time, side="right") - 1


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


@lru_cache
def _day_starts(zone: str, first: int, last: int) -> NDArray[np.int64]:
    """The first instant of each of the days first to last - 1, in microseconds."""
    here, epoch = ZoneInfo(zone), datetime(1970, 1, 1, tzinfo=UTC)
    days = (_EPOCH + timedelta(days=number) for number in range(first, last))
    # Where a clock change leaves out midnight, its first reading is the instant of the change.
    midnights = [datetime(day.year, day.month, day.day, tzinfo=here) for day in days]
    return np.array([(midnight - epoch) // timedelta(microseconds=1) for midnight in midnights], np.int64)
