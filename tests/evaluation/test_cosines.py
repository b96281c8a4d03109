from datetime import date
from math import sqrt

import numpy as np
import pytest
from pyspark.sql import SparkSession

from nextaisle import overlays
from nextaisle.arrays import pair_keys
from nextaisle.evaluation import cosines
from nextaisle.evaluation.cosines import measure_cosines, strongest_pairs
from nextaisle.evaluation.histories import build_histories
from tests.evaluation.rows import at, items, sessions

AS_OF = date(2024, 1, 31)
NO_HASHES = np.zeros(9, np.int64)


def pairs(*keys: tuple[int, int]) -> np.ndarray:
    array = np.array(keys)
    return pair_keys(array[:, 0], array[:, 1])


def test_pairs_are_counted_over_blocks() -> None:
    blocks = [pairs((1, 2), (1, 3), (1, 2)), pairs((1, 3), (1, 2), (4, 1))]
    found = strongest_pairs(blocks, np.full(9, 4), NO_HASHES, most=9)
    assert [tuple(row.values()) for row in found.to_pylist()] == [(1, 2, 3 / 4), (1, 3, 2 / 4), (4, 1, 1 / 4)]


def test_of_equal_cosines_the_hash_decides_which_are_kept() -> None:
    hashes = np.array([0, 0, 5, -5, 1, 0, 0, 0, 0])
    found = strongest_pairs([pairs((1, 2), (1, 3), (1, 4))], np.ones(9), hashes, most=2)
    assert found.column("item_index").to_pylist() == [3, 4]


def test_no_sessions_have_no_pairs() -> None:
    assert strongest_pairs([], np.ones(9), NO_HASHES, most=2).num_rows == 0


def test_cosines_are_over_distinct_items_of_sessions(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    visits = sessions(
        spark, ("u1", at(2), ["a", "b", "a"]), ("u1", at(9), ["a"]), ("u2", at(3), ["a", "b", "c"]),
        ("u3", at(4), ["b"]), ("u4", at(4), ["a", None, "c"]), ("u5", at(25), ["a", "b"]),
    )  # fmt: skip
    histories = build_histories(visits, items(spark, "a", "b", "c"), overlays.load().evaluation, AS_OF, "UTC")
    found = measure_cosines(histories.where("is_training"), np.zeros(4, np.int64), most=9).to_pylist()
    expected = {(1, 2): 2 / sqrt(4 * 3), (1, 3): 2 / sqrt(4 * 2), (2, 3): 1 / sqrt(3 * 2)}
    expected |= {(other, one): weight for (one, other), weight in expected.items()}
    assert {(row["from_index"], row["item_index"]): row["weight"] for row in found} == pytest.approx(expected)


def test_of_a_huge_session_a_sample_is_enough(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "MAX_SESSION_ITEMS", 2)
    histories = build_histories(
        sessions(spark, ("u", at(2), ["a", "b", "c"])),
        items(spark, "a", "b", "c"),
        overlays.load().evaluation,
        AS_OF,
        "UTC",
    )
    assert measure_cosines(histories, np.zeros(4, np.int64), most=9).num_rows == 2
