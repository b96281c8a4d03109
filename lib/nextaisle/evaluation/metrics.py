"""Metrics of ranked lists against sets of targets, as ranx 0.3.21 defines them.

B cases, K ranks, T targets of all cases, M metrics. Case b's list is `index_BK[b]`, best first, filled up with 0 where
it is short; its targets are `target_T[offset_B1[b] : offset_B1[b + 1]]`, each once, at least one. With h_i = 1 where
rank i (1 is best) is a hit and n the number of targets:

| metric    | formula                                                              | reference                |
|-----------|----------------------------------------------------------------------|--------------------------|
| hr        | 1 if any of h_1..h_k is 1                                            | Deshpande, Karypis 2004  |
| recall    | sum of h_1..h_k / n                                                  |                          |
| precision | sum of h_1..h_k / k, also for a list that is shorter                 |                          |
| f1        | 2 · precision · recall / (precision + recall), 0 where both are 0    | van Rijsbergen 1979      |
| ndcg      | sum of h_i / log2(i + 1), over the same sum for min(k, n) hits first | Järvelin, Kekäläinen 2002 |
| mrr       | 1 / rank of the first hit, 0 without one                             | Voorhees 1999            |
| map       | sum over hits of (hits up to i) / i, over n (RePlay: over min(k, n)) | Buckley, Voorhees 2000   |

The list 7 3 9 with the targets {3, 9, 5}, at 3: hr 1, recall 2/3, precision 2/3, f1 2/3, mrr 1/2,
map (1/2 + 2/3) / 3, ndcg (1/log2 3 + 1/log2 4) / (1 + 1/log2 3 + 1/log2 4).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nextaisle.arrays import pair_keys

Array = npt.NDArray[Any]

METRICS = ("hr", "recall", "precision", "f1", "ndcg", "mrr", "map")


def metric_names(ks: Sequence[int]) -> list[str]:
    """`hr_at_5, recall_at_5, ...`: the columns of `measure`."""
    return [f"{metric}_at_{k}" for k in ks for metric in METRICS]


def hits(index_BK: Array, offset_B1: Array, target_T: Array) -> Array:
    """[B, K], True where the item at that rank is a target of its case."""
    row_T = np.repeat(np.arange(len(offset_B1) - 1), np.diff(offset_B1))
    return np.isin(pair_keys(np.arange(len(index_BK))[:, None], index_BK), pair_keys(row_T, target_T)) & (index_BK > 0)


def measure(hit_BK: Array, target_count_B: Array, ks: Sequence[int]) -> Array:
    """[B, M] in the order of `metric_names`."""
    return np.stack([values for k in ks for values in _measure_at(hit_BK[:, :k], target_count_B, k)], axis=1)


def recall_curve(hit_BK: Array, target_count_B: Array) -> Array:
    """[B, K]: recall at 1, 2, .. K."""
    curve: Array = np.cumsum(hit_BK, axis=1) / target_count_B[:, None]
    return curve


def _measure_at(hit_BK: Array, target_count_B: Array, k: int) -> tuple[Array, ...]:
    """One value of each of METRICS per case."""
    rank_K = np.arange(1, hit_BK.shape[1] + 1)
    gain_K = 1 / np.log2(rank_K + 1)
    ideal_K = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    hits_so_far_BK = np.cumsum(hit_BK, axis=1)
    hit_count_B = hits_so_far_BK[:, -1]
    recall_B, precision_B = hit_count_B / target_count_B, hit_count_B / k
    f1_B = 2 * hit_count_B / (target_count_B + k)
    ndcg_B = hit_BK @ gain_K / ideal_K[np.minimum(target_count_B, k) - 1]
    mrr_B = (hit_BK * (hits_so_far_BK == 1) / rank_K).sum(axis=1)
    map_B = (hit_BK * hits_so_far_BK / rank_K).sum(axis=1) / target_count_B
    return (hit_count_B > 0).astype(np.float64), recall_B, precision_B, f1_B, ndcg_B, mrr_B, map_B
