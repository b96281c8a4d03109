"""Losses over the whole catalogue, and over a sample of it. P positions, D width, I items, N negatives."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.model.pointer import Repeats

# Scores held at once by the full cross-entropy: 64 MiB of them.
_SCORES_AT_ONCE = 1 << 24


def cross_entropy(
    state_PD: Tensor, target_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor,
    repeats: Repeats | None = None,
) -> Tensor:  # fmt: skip
    """Sum of `weight * -log(share of the target)` over all items; targets 0 count nothing.

    share = exp(score[target]) / sum over items of exp(score)

    With `repeats` the pointer's weights are added to the sum, and a target that the history holds weighs what the
    pointer gives it; see pointer.py.
    """
    weight_P = weight_P * (target_P != PADDING_INDEX)
    nothing_P = torch.full_like(weight_P, float("-inf"))
    pointed = (nothing_P, nothing_P) if repeats is None else repeats
    apply = cast(Callable[..., Tensor], _ChunkedCrossEntropy.apply)
    return apply(state_PD, target_P, weight_P, item_ID, bias_I, *pointed)


def sampled_softmax(
    state_PD: Tensor, target_P: Tensor, own_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor,
    negative_N: Tensor, log_q_I: Tensor, repeats: Repeats | None = None,
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
    drawn_N = negative_N.int()
    is_hidden_PN = (drawn_N == target_P.int()[:, None]) | (drawn_N == own_P.int()[:, None])
    log_sum = cast(Callable[..., Tensor], _LogSumOfScores.apply)
    sampled_P = log_sum(offset_N, state_PD, vector_RD[2 * count :], is_hidden_PN)
    everything_P = torch.logaddexp(torch.logaddexp(target_score_P, own_score_P), sampled_P)
    if repeats is not None:
        everything_P = torch.logaddexp(everything_P, repeats.everything_P)
        target_score_P = torch.where(repeats.target_P.isneginf(), target_score_P, repeats.target_P)
    return ((everything_P - target_score_P) * weight_P).sum()


class _LogSumOfScores(torch.autograd.Function):
    """log(sum over n of exp(state . vector + offset)) without the hidden ones, in one matrix from score to chance."""

    @staticmethod
    def forward(ctx: Any, offset_N: Tensor, state_PD: Tensor, vector_ND: Tensor, is_hidden_PN: Tensor) -> Tensor:
        score_PN = torch.addmm(offset_N, state_PD, vector_ND.T).masked_fill_(is_hidden_PN, float("-inf"))
        # A question that all are hidden from has no sum.
        log_sum_P1 = torch.logsumexp(score_PN, dim=1, keepdim=True)
        chance_PN = score_PN.sub_(log_sum_P1.nan_to_num(neginf=0.0)).exp_()
        ctx.save_for_backward(chance_PN, state_PD, vector_ND)
        return log_sum_P1[:, 0]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        chance_PN, state_PD, vector_ND = ctx.saved_tensors
        slope_PN = chance_PN * upstream[0][:, None]
        return slope_PN.sum(0), slope_PN @ vector_ND, slope_PN.T @ state_PD, None


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy that never holds all scores: the gradients are found with the loss, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, state_PD: Tensor, target_P: Tensor, weight_P: Tensor, item_ID: Tensor, bias_I: Tensor,
        all_pointed_P: Tensor, target_pointed_P: Tensor,
    ) -> Tensor:  # fmt: skip
        loss = state_PD.new_zeros(())
        gradients = _Gradients(
            torch.empty_like(state_PD), torch.zeros_like(item_ID), torch.zeros_like(bias_I),
            torch.empty_like(all_pointed_P), torch.empty_like(target_pointed_P),
        )  # fmt: skip
        size = max(1, _SCORES_AT_ONCE // len(item_ID))
        for start in range(0, len(state_PD), size):
            rows = slice(start, start + size)
            pointed = Repeats(all_pointed_P[rows], target_pointed_P[rows])
            loss += _chunk(state_PD[rows], target_P[rows], weight_P[rows], item_ID, bias_I, pointed, gradients, rows)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        state, item, bias, everything, target = (gradient * upstream[0] for gradient in ctx.saved_tensors)
        return state, None, None, item, bias, everything, target


class _Gradients(NamedTuple):
    state_PD: Tensor
    item_ID: Tensor
    bias_I: Tensor
    all_pointed_P: Tensor
    target_pointed_P: Tensor


def _chunk(
    state_CD: Tensor, target_C: Tensor, weight_C: Tensor, item_ID: Tensor, bias_I: Tensor, pointed: Repeats,
    gradients: _Gradients, rows: slice,
) -> Tensor:  # fmt: skip
    """The loss of one chunk; its gradients are added to `gradients`. The padding's score is left out.

    loss = log(S + R) - log(t), S the sum over all items, R what the pointer gives to all inputs, and t what it gives
    to the target, or exp(score) where it gives it nothing. So the gradient of a score is that of the plain softmax
    times S / (S + R), and the target's own part is there only where the pointer's is not.
    """
    score_CI = torch.addmm(bias_I, state_CD, item_ID.T)
    score_CI[:, PADDING_INDEX] = float("-inf")
    log_sum_C = torch.logsumexp(score_CI, dim=1)
    target_score_C = score_CI.gather(1, target_C[:, None])[:, 0]
    log_all_C = torch.logaddexp(log_sum_C, pointed.everything_P)
    is_new_C = pointed.target_P.isneginf()
    log_target_C = torch.where(is_new_C, target_score_C, pointed.target_P)
    loss_C = torch.where(weight_C > 0, (log_all_C - log_target_C) * weight_C, 0.0)
    plain_share_C = ((weight_C > 0) & is_new_C).to(score_CI.dtype)
    chance_CI = score_CI.sub_(log_all_C[:, None]).exp_()
    chance_CI.scatter_add_(1, target_C[:, None], -plain_share_C[:, None]).mul_(weight_C[:, None])
    gradients.state_PD[rows] = chance_CI @ item_ID
    gradients.item_ID.addmm_(chance_CI.T, state_CD)
    gradients.bias_I.add_(chance_CI.sum(0))
    gradients.all_pointed_P[rows] = weight_C * (pointed.everything_P - log_all_C).exp()
    gradients.target_pointed_P[rows] = -weight_C * (1.0 - plain_share_C)
    return loss_C.sum()
