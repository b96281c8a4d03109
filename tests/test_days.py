from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nextaisle.days import day_number, days_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(*times: datetime) -> np.ndarray:
    return np.array([(time - EPOCH) // timedelta(microseconds=1) for time in times])


def test_a_day_begins_at_the_shops_midnight_also_when_clocks_change() -> None:
    times = [
        datetime(2017, 3, 12, 4, 59, 59, tzinfo=UTC), datetime(2017, 3, 12, 5, tzinfo=UTC),
        datetime(2017, 3, 13, 3, 59, 59, tzinfo=UTC), datetime(2017, 3, 13, 4, tzinfo=UTC),
    ]  # fmt: skip
    expected = [date(2017, 3, 11), date(2017, 3, 12), date(2017, 3, 12), date(2017, 3, 13)]
    assert days_of(microseconds(*times), "America/New_York").tolist() == [day_number(day) for day in expected]


@pytest.mark.parametrize("zone", ["America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "UTC"])
def test_days_are_those_of_the_calendar_in_any_zone(zone: str) -> None:
    times = [datetime(2011, 1, 1, tzinfo=UTC) + timedelta(minutes=17 * n) for n in range(0, 40_000, 13)]
    expected = [day_number(time.astimezone(ZoneInfo(zone)).date()) for time in times]
    assert days_of(microseconds(*times), zone).tolist() == expected


def test_no_times_have_no_days() -> None:
    assert days_of(np.zeros(0, np.int64), "UTC").tolist() == []
