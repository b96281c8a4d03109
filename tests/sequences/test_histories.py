import numpy as np
import pyarrow as pa
import pytest

from nextaisle.contract.errors import InputError
from nextaisle.sequences.histories import flat, histories_of
from nextaisle.sequences.vocabulary import type_indices
from tests.sequences.rows import FIRST_DAY, lookup, session, table


def items(rows: pa.Table) -> str:
    found = histories_of(rows, "UTC")
    return "".join(flat(rows, "item_ids").take(pa.array(found.place_E)).to_pylist())


def test_overlapping_source_sessions_are_put_in_order_of_time() -> None:
    rows = table(session("u", [1, 3, 5], "ace", "x"), session("u", [2, 4], "bd", "y"), session("v", [0], "f"))
    assert items(rows) == "abcdef"


def test_at_one_time_no_source_session_comes_first_then_they_come_by_name_then_by_place() -> None:
    rows = table(session("u", [1, 1], "cd", "b"), session("u", [1], "b", "a"), session("u", [1], "a", None))
    assert items(rows) == "abcd"


def test_the_first_event_with_an_item_begins_the_session() -> None:
    found = histories_of(table(session("u", [0, 1, 2], [None, "a", "b"]), session("u", [5], ["c"])), "UTC")
    assert found.is_start_E.tolist() == [True, False, True]
    assert found.place_E.tolist() == [1, 2, 3]


def test_an_event_belongs_to_its_own_day_not_to_that_of_its_session() -> None:
    found = histories_of(table(session("u", [23, 24.5], "ab")), "UTC")
    assert (found.day_E - FIRST_DAY).tolist() == [0, 1]


def test_items_are_found_and_an_unknown_one_is_named() -> None:
    assert lookup("x", "y").find(pa.array(["y", "x", "y"])).tolist() == [2, 1, 2]
    assert lookup().find(pa.array([], pa.string())).tolist() == []
    with pytest.raises(InputError, match="'z'"):
        lookup("x", "y").find(pa.array(["x", "z"]))


def test_event_types_have_the_integers_of_the_contract() -> None:
    assert type_indices(pa.array(["purchase", "view", "of our own"])).tolist() == [6, 1, 0]
    assert type_indices(pa.array([], pa.string())).dtype == np.int8
