"""How well targets are foreseen: the whole catalogue ranked for each of them. P targets, I items."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.feed.batches import Batch, cut_in_order
from nextaisle.feed.windows import Windows
from nextaisle.model.next_item import NextItemModel
from nextaisle.model.pointer import put_repeats
from nextaisle.training import distributed
from nextaisle.training.questions import asked_in_validation, pointed

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


class Validation(NamedTuple):
    """Windows with the targets that are judged, and whether each is to be foreseen from before its session."""

    parts: list[Windows]
    is_before_session: bool


@torch.no_grad()
def judge(model: NextItemModel, validation: Validation, device: torch.device) -> tuple[float, float]:
    """Mean NDCG@10 and HR@10 over the targets of all ranks; ties count against the model. Every rank must call it."""
    ndcg, hits, cases = 0.0, 0.0, 0
    vector_ID = model.item_vectors()
    for windows in validation.parts:
        for batch in cut_in_order(windows, _POSITIONS, model.spec.encoded_length):
            there = batch.to(device)
            rank_P = ranks(model, there, vector_ID, validation.is_before_session)
            found_P = rank_P[rank_P <= _K].double()
            ndcg, hits = ndcg + float((1.0 / torch.log2(found_P + 1.0)).sum()), hits + len(found_P)
            cases += len(rank_P)
    ndcg, hits, total = distributed.totals(ndcg, hits, cases)
    return ndcg / max(total, 1.0), hits / max(total, 1.0)


def ranks(model: NextItemModel, batch: Batch, vector_ID: Tensor, is_before_session: bool = False) -> Tensor:
    """rank_P of the batch's targets: 1 where no other item scores as high as the target. NaN counts against it."""
    encoded = model(batch.inputs)
    asked = asked_in_validation(batch, encoded.place_BS, is_before_session)
    state_PD = encoded.state_BSD[asked.row_P, asked.at_P]
    state_PD = torch.cat([state_PD, torch.ones_like(state_PD[:, :1])], dim=1)
    if model.pointer is not None:
        logit_PL = pointed(model, encoded, batch, asked)
        item_PL = batch.inputs.item_BL[asked.row_P]
    found = []
    size = max(1, _SCORES // len(vector_ID))
    for start in range(0, len(state_PD), size):
        rows = slice(start, start + size)
        score_CI = state_PD[rows] @ vector_ID.T
        if model.pointer is not None:
            score_CI = put_repeats(score_CI, item_PL[rows], logit_PL[rows])
        target_score_C = score_CI.gather(1, asked.target_P[rows][:, None])
        found.append((~(score_CI < target_score_C)).sum(1))
    return torch.cat(found) if found else asked.target_P
