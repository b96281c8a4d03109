"""Losses over the whole catalogue, and over a sample of it. P positions, D width, I items, N negatives."""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX

# Scores held at once by the full cross-entropy: 64 MiB of them.
_SCORES_AT_ONCE = 1 << 24


def cross_entropy(state_PD: Tensor, target_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor) -> Tensor:
    """Sum of `weight * -log softmax(score)[target]` over all items; targets 0 count nothing."""
    weight_P = weight_P * (target_P != PADDING_INDEX)
    apply = cast(Callable[..., Tensor], _ChunkedCrossEntropy.apply)
    return apply(state_PD, target_P, weight_P, item_ID, bias_I)


def sampled_softmax(
    state_PD: Tensor, target_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor,
    negative_N: Tensor, log_q_I: Tensor,
) -> Tensor:  # fmt: skip
    """Sum of the weighted cross-entropies of each target against the same N negatives.

    Every score is lowered by log q, the log of the chance to draw the item, so that what is drawn often is not
    learned to be unlikely: the optimum is that of the full cross-entropy (Bengio & Senécal 2008; Jean et al. 2015). A
    negative that is the target of a position is no negative there.
    """
    weight_P = weight_P * (target_P != PADDING_INDEX)
    rows = torch.cat([target_P, negative_N])
    # One look-up for both: the gradient of a look-up is as large as the whole catalogue.
    vector_RD = F.embedding(rows, item_ID)
    offset_R = bias_I[rows] - log_q_I[rows]
    positive_P, negative_ND = vector_RD[: len(target_P)], vector_RD[len(target_P) :]
    target_score_P = (state_PD * positive_P).sum(1) + offset_R[: len(target_P)]
    score_PN = torch.addmm(offset_R[len(target_P) :], state_PD, negative_ND.T)
    score_PN = score_PN.masked_fill(target_P[:, None] == negative_N[None, :], float("-inf"))
    everything_P = torch.logaddexp(target_score_P, torch.logsumexp(score_PN, dim=1))
    return ((everything_P - target_score_P) * weight_P).sum()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy that never holds all scores: the gradients are found with the loss, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, state_PD: Tensor, target_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor
    ) -> Tensor:
        loss = state_PD.new_zeros(())
        gradients = torch.empty_like(state_PD), torch.zeros_like(item_ID), torch.zeros_like(bias_I)
        size = max(1, _SCORES_AT_ONCE // len(item_ID))
        for start in range(0, len(state_PD), size):
            rows = slice(start, start + size)
            loss += _chunk(state_PD[rows], target_P[rows], weight_P[rows], item_ID, bias_I, gradients, rows)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        state, item, bias = (gradient * upstream[0] for gradient in ctx.saved_tensors)
        return state, None, None, item, bias


def _chunk(
    state_CD: Tensor, target_C: Tensor, weight_C: Tensor, item_ID: Tensor, bias_I: Tensor,
    gradients: tuple[Tensor, Tensor, Tensor], rows: slice,
) -> Tensor:  # fmt: skip
    """The loss of one chunk; its gradients are added to `gradients`. The padding's score is left out."""
    score_CI = torch.addmm(bias_I, state_CD, item_ID.T)
    score_CI[:, PADDING_INDEX] = float("-inf")
    log_sum_C = torch.logsumexp(score_CI, dim=1)
    target_score_C = score_CI.gather(1, target_C[:, None])[:, 0]
    loss_C = torch.where(weight_C > 0, (log_sum_C - target_score_C) * weight_C, 0.0)
    chance_CI = score_CI.sub_(log_sum_C[:, None]).exp_()
    chance_CI.scatter_add_(1, target_C[:, None], -torch.ones_like(chance_CI[:, :1])).mul_(weight_C[:, None])
    gradients[0][rows] = chance_CI @ item_ID
    gradients[1].addmm_(chance_CI.T, state_CD)
    gradients[2].add_(chance_CI.sum(0))
    return loss_C.sum()
