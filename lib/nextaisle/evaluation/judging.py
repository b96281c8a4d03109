"""Every model and baseline on every case, in one pass over the users. B cases, K ranks, V values, U users.

Users stream through: a worker holds the events of some users and of the one that the Arrow batch has cut in two.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nextaisle.arrays import text_run_starts
from nextaisle.evaluation.cases import Cases, Histories, Protocol, find_cases
from nextaisle.evaluation.contexts import Contexts, gather_contexts
from nextaisle.evaluation.metrics import hits, measure, metric_names, recall_curve
from nextaisle.evaluation.ranked_models import rank_model
from nextaisle.evaluation.rankers import GROUPS, Baselines, rank_baselines
from nextaisle.scoring.packed import PackedModel, unpack_model
from nextaisle.storage.kernels import whole_users

Array = npt.NDArray[Any]

# Cases ranked at once: their contexts, of up to max_context events each, are in memory together.
CASES_AT_ONCE = 256
# Events that are held together, of as many users as have so many.
_BLOCK_EVENTS = 10_000
_SHARES = 1_000_000
EVENT_COLUMNS = ("user_id", "item_index", "event_type_index", "is_session_start", "event_day")
_JUDGED = "user_id string, model string, cases bigint, values array<double>, item_indices array<int>"


@dataclass(frozen=True)
class Judgement:
    """All that a worker needs, sent to it once."""

    protocol: Protocol
    ks: tuple[int, ...]
    hides_seen: bool
    baselines: Baselines
    models: dict[str, PackedModel]


def value_names(ks: tuple[int, ...]) -> list[str]:
    """What stands in `values`: the metrics at ks, recall at every rank, and shares of the groups of popularity.

    `listed_share_3` is the share of a list, `target_share_3` that of the targets, in group 3 of GROUPS.
    """
    curve = [f"recall_at_{k}" for k in range(1, max(ks) + 1)]
    shares = [f"{what}_share_{group}" for what in ("listed", "target") for group in range(1, GROUPS + 1)]
    return [*metric_names(ks), *curve, *shares]


def judge(histories: DataFrame, judgement: Judgement, user_share: float) -> DataFrame:
    """A row per user and model: the user's cases, the mean of each of `value_names`, and the list of the last case."""
    shipped = histories.sparkSession.sparkContext.broadcast(judgement)

    def judge_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for events in whole_users(batches, _BLOCK_EVENTS):
            yield from judge_users(events, shipped.value)

    judged = histories.where(_is_judged(user_share)).select(*EVENT_COLUMNS)
    return judged.mapInArrow(judge_partition, _JUDGED)


def judge_users(events: pa.Table, judgement: Judgement) -> Iterator[pa.RecordBatch]:
    """Rows of `judge` for users whose events are all in `events`, in order."""
    user_ids, histories = _histories(events)
    cases = find_cases(histories, judgement.protocol)
    ends = np.append(cases.user_B[1:] != cases.user_B[:-1], True)  # a user's cases are judged together
    first = 0
    for last in (np.flatnonzero(ends[: len(cases.user_B)]) + 1).tolist():
        if last - first >= CASES_AT_ONCE or last == len(cases.user_B):
            yield from _judge_block(user_ids, histories, _cut(cases, first, last), judgement)
            first = last


def last_cases(events: pa.Table, protocol: Protocol) -> Iterator[tuple[str, list[int], list[int]]]:
    """Of each user with a case the id, and the known items and the targets of the last one."""
    user_ids, histories = _histories(events)
    cases = find_cases(histories, protocol)
    for case in np.flatnonzero(np.append(cases.user_B[1:] != cases.user_B[:-1], True)[: len(cases.user_B)]):
        known = histories.item_E[cases.begin_B[case] : cases.end_B[case]]
        targets = cases.target_T[cases.offset_B1[case] : cases.offset_B1[case + 1]]
        yield user_ids[cases.user_B[case]].as_py(), known.tolist(), targets.tolist()


def _judge_block(
    user_ids: pa.Array, histories: Histories, cases: Cases, judgement: Judgement
) -> Iterator[pa.RecordBatch]:
    lists = _rank(gather_contexts(histories, cases), judgement)
    user_U, start_U, count_U = np.unique(cases.user_B, return_index=True, return_counts=True)
    for model, index_BK in lists.items():
        value_BV = _values(index_BK, cases, judgement)
        mean_UV = np.add.reduceat(value_BV, start_U) / count_U[:, None]
        columns = [
            user_ids.take(pa.array(user_U)),
            pa.array([model] * len(user_U), pa.string()),
            pa.array(count_U, pa.int64()),
            _list_array(mean_UV),
            _list_array(index_BK[start_U + count_U - 1]),
        ]
        yield pa.RecordBatch.from_arrays(columns, ["user_id", "model", "cases", "values", "item_indices"])


def _rank(contexts: Contexts, judgement: Judgement) -> dict[str, Array]:
    k, baselines, hides_seen = max(judgement.ks), judgement.baselines, judgement.hides_seen
    models = {
        name: rank_model(unpack_model(packed), baselines, contexts, k, hides_seen)
        for name, packed in judgement.models.items()
    }
    return models | rank_baselines(baselines, contexts, k, hides_seen)


def _values(index_BK: Array, cases: Cases, judgement: Judgement) -> Array:
    """[B, V], named by `value_names`."""
    hit_BK = hits(index_BK, cases.offset_B1, cases.target_T)
    target_count_B = np.diff(cases.offset_B1)
    group_I, row_B = judgement.baselines.group_I, np.arange(len(index_BK))
    row_K, row_T = np.repeat(row_B, index_BK.shape[1]), np.repeat(row_B, target_count_B)
    listed = _group_shares(row_K, group_I[index_BK.ravel()], index_BK.shape[1], len(row_B))
    targets = _group_shares(row_T, group_I[cases.target_T], target_count_B[:, None], len(row_B))
    curve = recall_curve(hit_BK, target_count_B)
    return np.concatenate([measure(hit_BK, target_count_B, judgement.ks), curve, listed, targets], axis=1)


def _group_shares(row_N: Array, group_N: Array, total: int | Array, row_count: int) -> Array:
    """[B, GROUPS] of the share of each row's items that are in each group."""
    cell_N = row_N * (GROUPS + 1) + group_N
    counts = np.bincount(cell_N, minlength=row_count * (GROUPS + 1)).reshape(row_count, GROUPS + 1)
    return counts[:, 1:] / total


def _histories(events: pa.Table) -> tuple[pa.Array, Histories]:
    """The users, and their events as arrays."""
    user_ids = events["user_id"].combine_chunks()
    start_U = text_run_starts(user_ids)
    arrays = (events[name].to_numpy() for name in EVENT_COLUMNS[1:])
    return user_ids.take(pa.array(start_U)), Histories(np.append(start_U, len(events)), *arrays)


def _cut(cases: Cases, first: int, last: int) -> Cases:
    offset_B1 = cases.offset_B1[first : last + 1]
    targets = cases.target_T[offset_B1[0] : offset_B1[-1]]
    block = slice(first, last)
    return Cases(cases.user_B[block], cases.begin_B[block], cases.end_B[block], offset_B1 - offset_B1[0], targets)


def _list_array(value_UV: Array) -> pa.ListArray:
    offsets = pa.array(np.arange(len(value_UV) + 1) * value_UV.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(value_UV.ravel()))


def _is_judged(user_share: float) -> Column:
    """A sample of users by hash: the same ones for every model and night."""
    return F.pmod(F.xxhash64("user_id"), F.lit(_SHARES)) < int(user_share * _SHARES)
