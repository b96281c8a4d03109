from collections.abc import Callable
from datetime import date

import pytest
from pyspark.sql import DataFrame

from nextaisle.scoring.catalogue import read_catalogue

MakeRows = Callable[..., DataFrame]


def test_popular_is_what_was_bought_in_the_last_four_weeks(sessions: MakeRows, items: DataFrame) -> None:
    """Through the thirtieth: the third is among them, the second is not; what was only viewed counts nothing."""
    visits = sessions(("x", 2, "ddd"), ("x", 3, "aaabb"), ("x", 31, "ccc"))
    visits = visits.unionByName(sessions(("x", 9, "eeee"), event_type="view"))
    # Over midnight: of the second day c alone, of the thirtieth f alone.
    visits = visits.unionByName(sessions(("y", 2, "dc"), ("y", 30, "fe"), minutes_apart=2))
    found = read_catalogue(items, visits, date(2024, 1, 30), "UTC", ("purchase",), ())
    assert [found.item_id_I[int(index)].as_py() for index in found.most_popular(2)] == ["a", "b"]
    assert found.recent_count_I.tolist() == [0, 3, 2, 1, 0, 0, 1]


def test_what_is_not_for_sale_is_never_popular(
    sessions: MakeRows, items: DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    found = read_catalogue(items, sessions(("x", 9, "aab")), date(2024, 1, 30), "UTC", ("purchase",), ("a", "gone"))
    assert found.hidden_E.tolist() == [1]
    assert found.most_popular(9)[0] == 2
    assert len(found.most_popular(9)) == 5
    assert "names 1 items that no event ever had" in caplog.text
