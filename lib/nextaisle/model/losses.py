"""Losses over the whole catalogue, and over a sample of it. P positions, D width, I items, N negatives."""

import math
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
    state_PD: Tensor, target_P: Tensor, own_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor,
    negative_N: Tensor, log_q_I: Tensor,
) -> Tensor:  # fmt: skip
    """The same loss with the sum over all items estimated from the target, the position's own item, and N negatives.

    sum over items of exp(score) ~ exp(score[target]) + exp(score[own]) + sum over negatives of exp(score) / (N q)

    A negative stands for 1 / (N q) items, q being the chance to draw it, so the estimate is unbiased however negatives
    are drawn (Bengio & Senécal 2008), and the loss is near the full cross-entropy. The own item is always there: the
    state resembles its vector, so it scores high and is hardly ever drawn. A negative that is the target, or the own
    item, is no negative there.
    """
    weight_P = weight_P * (target_P != PADDING_INDEX)
    count = len(target_P)
    rows_R = torch.cat([target_P, own_P, negative_N])
    # One look-up for all: the gradient of a look-up is as large as the whole catalogue.
    vector_RD, bias_R = F.embedding(rows_R, item_ID), bias_I[rows_R]
    target_score_P = (state_PD * vector_RD[:count]).sum(1) + bias_R[:count]
    own_score_P = (state_PD * vector_RD[count : 2 * count]).sum(1) + bias_R[count : 2 * count]
    own_score_P = own_score_P.masked_fill(own_P == target_P, float("-inf"))
    offset_N = bias_R[2 * count :] - log_q_I[negative_N] - math.log(len(negative_N))
    score_PN = torch.addmm(offset_N, state_PD, vector_RD[2 * count :].T)
    is_other_PN = (negative_N != target_P[:, None]) & (negative_N != own_P[:, None])
    sampled_P = torch.logsumexp(score_PN.masked_fill(~is_other_PN, float("-inf")), dim=1)
    everything_P = torch.logaddexp(torch.logaddexp(target_score_P, own_score_P), sampled_P)
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
