"""Which states are asked for which targets. B windows, L inputs, S states of each, P questions.

What is bought in a visit can be foreseen from the event just before it, or from all that was known before the visit
began. The second is what a nightly list is asked for, so training asks both.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.feed.batches import Batch
from nextaisle.model.next_item import Encoded, NextItemModel


class Questions(NamedTuple):
    """Question p: state at_P[p] of window row_P[p] is to foresee the item target_P[p]."""

    row_P: Tensor
    at_P: Tensor
    target_P: Tensor
    weight_P: Tensor

    def flat_states(self, place_BS: Tensor) -> Tensor:
        """The state of each question among all B * S of them."""
        return self.row_P * place_BS.shape[1] + self.at_P


def asked_in_training(batch: Batch, place_BS: Tensor, session_share: float) -> Questions:
    """Every target once by the event before it, and once by the last event before its session where that is another.

    Together they weigh what the target does, so sessions of any length count by their events.

    With session_share .5, and a session that ends with input b:

    | input                        | a   | b   | c    | d    |
    |------------------------------|-----|-----|------|------|
    | target                       | b   | c   | d    | e    |
    | asked of the input, weight   | a 1 | b 1 | c .5 | d .5 |
    | asked too of, weight         |     |     | b .5 | b .5 |
    """
    following = _following(batch, place_BS)
    before_P = _before_session(batch, place_BS)[following.row_P, following.at_P]
    is_inside_P = (before_P >= 0) & (before_P != following.at_P)
    if not session_share or not bool(is_inside_P.any()):
        return following
    row_Q, target_Q, weight_Q = (
        each[is_inside_P] for each in (following.row_P, following.target_P, following.weight_P)
    )
    weight_P = torch.where(is_inside_P, (1.0 - session_share) * following.weight_P, following.weight_P)
    return Questions(
        torch.cat([following.row_P, row_Q]),
        torch.cat([following.at_P, before_P[is_inside_P]]),
        torch.cat([following.target_P, target_Q]),
        torch.cat([weight_P, session_share * weight_Q]),
    )


def asked_in_validation(batch: Batch, place_BS: Tensor, is_before_session: bool) -> Questions:
    """Every target once: by the event before it, or by the last event before its session where that is encoded."""
    following = _following(batch, place_BS)
    if not is_before_session:
        return following
    before_P = _before_session(batch, place_BS)[following.row_P, following.at_P]
    return following._replace(at_P=torch.where(before_P >= 0, before_P, following.at_P))


def pointed(model: NextItemModel, encoded: Encoded, batch: Batch, asked: Questions) -> Tensor:
    """logit_PL: how strongly the model points to each input of the window, for each question."""
    logit_BSL = model.point(encoded, batch.inputs, encoded.state_BSD, encoded.place_BS)
    return logit_BSL[asked.row_P, asked.at_P].float()


def _following(batch: Batch, place_BS: Tensor) -> Questions:
    target_BS = batch.target_BL.gather(1, place_BS)
    row_P, at_P = torch.nonzero(target_BS != PADDING_INDEX, as_tuple=True)
    return Questions(row_P, at_P, target_BS[row_P, at_P], batch.weight_B[row_P])


def _before_session(batch: Batch, place_BS: Tensor) -> Tensor:
    """at_BS: of each state the latest one, itself included, whose input ended a session; -1 where none did."""
    at_S = torch.arange(place_BS.shape[1], device=place_BS.device)
    is_end_BS = batch.inputs.session_end_BL.gather(1, place_BS) > 0
    return torch.where(is_end_BS, at_S, -1).cummax(1).values
