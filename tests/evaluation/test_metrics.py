import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from nextaisle.evaluation.metrics import hits, measure, metric_names, recall_curve

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "metrics_golden.json").read_text(encoding="utf-8"))
LIST_LENGTH = 20


def golden_hits() -> tuple[np.ndarray, np.ndarray]:
    lists = np.array([case["list"] + [0] * (LIST_LENGTH - len(case["list"])) for case in GOLDEN["cases"]])
    counts = np.array([len(case["targets"]) for case in GOLDEN["cases"]])
    targets = np.array(list(chain.from_iterable(case["targets"] for case in GOLDEN["cases"])))
    return hits(lists, np.concatenate([[0], np.cumsum(counts)]), targets), counts


@pytest.mark.parametrize("name", GOLDEN["values"])
def test_metrics_equal_those_of_ranx_on_stored_cases(name: str) -> None:
    hit_BK, counts = golden_hits()
    found = measure(hit_BK, counts, GOLDEN["ks"])[:, metric_names(GOLDEN["ks"]).index(name)]
    np.testing.assert_allclose(found, GOLDEN["values"][name], rtol=0, atol=1e-12)


def test_the_example_of_the_docstring() -> None:
    hit_BK = hits(np.array([[7, 3, 9]]), np.array([0, 3]), np.array([3, 5, 9]))
    log3, log4 = np.log2(3), np.log2(4)
    ndcg = (1 / log3 + 1 / log4) / (1 + 1 / log3 + 1 / log4)
    expected = [1, 2 / 3, 2 / 3, 2 / 3, ndcg, 1 / 2, (1 / 2 + 2 / 3) / 3]
    np.testing.assert_allclose(measure(hit_BK, np.array([3]), [3]), [expected])


def test_a_target_of_another_case_is_no_hit() -> None:
    found = hits(np.array([[1, 2], [1, 2]]), np.array([0, 1, 2]), np.array([1, 2]))
    assert found.tolist() == [[True, False], [False, True]]


def test_the_filling_of_a_short_list_is_no_hit_even_if_an_unknown_item_is_a_target() -> None:
    assert not hits(np.array([[0, 0]]), np.array([0, 1]), np.array([0])).any()


def test_the_recall_curve_ends_at_recall_of_the_whole_list() -> None:
    hit_BK = np.array([[False, True, True]])
    np.testing.assert_allclose(recall_curve(hit_BK, np.array([4])), [[0, 0.25, 0.5]])
