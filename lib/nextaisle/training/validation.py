"""How well the next item is foreseen: the whole catalogue ranked at each target. P targets, I items."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.feed.batches import Batch, cut_in_order
from nextaisle.feed.windows import Windows
from nextaisle.model.next_item import NextItemModel
from nextaisle.model.pointer import add_repeats
from nextaisle.training import distributed

_K = 10
# Inputs that are encoded together, and scores held at once: 64 MiB of them.
_POSITIONS, _SCORES = 16384, 1 << 24
# 2^64 / golden ratio: spreads consecutive numbers evenly over 64 bits (Knuth, vol. 3, 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def sample_targets(parts: Iterable[Windows], target_count: int, wanted: int) -> list[Windows]:
    """Windows with about `wanted` of the `target_count` targets left (0: all), chosen by example_id and place.

    The choice depends on the rows alone, not on how ranks share them. Windows without a target are left out.
    """
    share = 1.0 if wanted == 0 or target_count <= wanted else wanted / target_count
    sampled = []
    for windows in parts:
        place_E = np.arange(len(windows.item_E)) - np.repeat(windows.offset_W1[:-1], windows.length_W)
        id_E = np.repeat(windows.example_id_W, windows.length_W).astype(np.uint64)
        hash_E = (id_E + place_E.astype(np.uint64)) * _SPREAD
        is_chosen_E = (windows.target_E != PADDING_INDEX) & ((hash_E >> np.uint64(11)) < np.uint64(share * (1 << 53)))
        chosen = windows._replace(target_E=np.where(is_chosen_E, windows.target_E, PADDING_INDEX))
        count_W = np.diff(np.concatenate([[0], np.cumsum(is_chosen_E)])[windows.offset_W1])
        sampled.append(chosen.take(np.flatnonzero(count_W)))
    return sampled


@torch.no_grad()
def judge(model: NextItemModel, parts: Iterable[Windows], device: torch.device) -> tuple[float, float]:
    """Mean NDCG@10 and HR@10 over the targets of all ranks; ties count against the model. Every rank must call it."""
    ndcg, hits, cases = 0.0, 0.0, 0
    vector_ID = model.item_vectors()
    for windows in parts:
        for batch in cut_in_order(windows, _POSITIONS):
            there = batch.to(device)
            rank_P = ranks(model, there, vector_ID)
            found_P = rank_P[rank_P <= _K].double()
            ndcg, hits = ndcg + float((1.0 / torch.log2(found_P + 1.0)).sum()), hits + len(found_P)
            cases += len(rank_P)
    ndcg, hits, total = distributed.totals(ndcg, hits, cases)
    return ndcg / max(total, 1.0), hits / max(total, 1.0)


def ranks(model: NextItemModel, batch: Batch, vector_ID: Tensor) -> Tensor:
    """rank_P of the batch's targets: 1 where no other item scores as high as the target."""
    is_target_BL = batch.target_BL != PADDING_INDEX
    target_P, row_P = batch.target_BL[is_target_BL], torch.nonzero(is_target_BL)[:, 0]
    state_BLD, input_BLD = model(batch.inputs)
    state_PD = state_BLD[is_target_BL]
    state_PD = torch.cat([state_PD, torch.ones_like(state_PD[:, :1])], dim=1)
    item_BL = batch.inputs.item_BL
    if model.pointer is not None:
        place_BL = torch.arange(item_BL.shape[1], device=item_BL.device).expand(item_BL.shape)
        weight_PL = model.pointer(state_BLD, input_BLD, batch.inputs.session_end_BL, place_BL)[is_target_BL]
    found = []
    size = max(1, _SCORES // len(vector_ID))
    for start in range(0, len(target_P), size):
        rows = slice(start, start + size)
        score_CI = state_PD[rows] @ vector_ID.T
        if model.pointer is not None:
            score_CI = add_repeats(score_CI, item_BL[row_P[rows]], weight_PL[rows])
        target_score_C = score_CI.gather(1, target_P[rows][:, None])
        found.append((score_CI >= target_score_C).sum(1))
    return torch.cat(found) if found else target_P
