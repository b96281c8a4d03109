"""What a history holds may come again, or never: a pointer from the state to each past input.

A grocer's customer buys the same milk every week; nobody buys the same novel twice. An item's embedding would have to
say so in a few dozen numbers, beside all else that it says, and a state always resembles the items that it was made
of. So what is known is told from what is new, as RepeatNet (Ren et al. 2019) does, here in one softmax:

    weight(item) = exp(state . vector(item))                                        where the history lacks the item
    weight(item) = sum of exp(pointer(state, t)) over the inputs t that are the item     where it holds it

An exact top-K needs the best inner products among the items that the history lacks, and the items of the history,
nothing more. In training the products of the history's items stay in the sum, as negatives that are never right: left
out, states come to resemble the items that they are made of, and overfit twice as fast (README, Decisions).
B sequences, L inputs, P positions that point, D width.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

# Distances 0, 1, 2, 3, then one bucket for each doubling; the last takes what is farther than a thousand.
_BUCKETS = 12
_EXACT_DISTANCES = 4
# What all inputs of a full window weigh at first, in units of all items together: little, so that data without
# repetition need not unlearn it, and enough to be learned from.
_FIRST_SHARE = 0.05


class Repeats(NamedTuple):
    """Log of the weight that a position's pointer gives: to all inputs together, and to those that are the target.

    The second is -inf where the history lacks the target.
    """

    everything_P: Tensor
    target_P: Tensor


class Pointer(nn.Module):
    """Logits by content, by the state's habit of repeating (`share`), by how often an input comes again (`staple`), by
    distance in inputs, and by distance in sessions; the last know whether a session ends.

    Within one basket hardly anything is bought twice; the next one repeats it. Hence a bias for "this many sessions
    ago" when the target begins another session, and another bias when it does not.
    """

    def __init__(self, dimension: int, item_count: int, length: int) -> None:
        super().__init__()
        self.query = nn.Linear(dimension, dimension)
        self.key = nn.Linear(dimension, dimension)
        self.share = nn.Linear(dimension, 1)
        self.staple = nn.Linear(dimension, 1)
        self.bias_by_inputs = nn.Parameter(torch.zeros(_BUCKETS))
        # An item weighs 1 at first on average, as the biases of items have it.
        self.bias_by_sessions = nn.Parameter(torch.full((2, _BUCKETS), math.log(_FIRST_SHARE * item_count / length)))

    def forward(self, state_BPD: Tensor, input_BLD: Tensor, session_end_BL: Tensor, place_BP: Tensor) -> Tensor:
        """logit_BPL: how strongly the state at input `place` points to each input; -inf to those after it."""
        length = input_BLD.shape[1]
        session_BL = session_end_BL.cumsum(1) - session_end_BL
        sessions_BPL = _distances(session_BL.gather(1, place_BP), session_BL).clamp_(min=0)
        inputs_BPL = _distances(place_BP, torch.arange(length, device=place_BP.device)[None, :])
        is_later_BPL = inputs_BPL < 0
        bucket_L = _bucket(torch.arange(length, device=place_BP.device))
        kind_BPL = bucket_L[inputs_BPL.clamp_(min=0)].add_(bucket_L[sessions_BPL], alpha=_BUCKETS)
        kind_BPL += session_end_BL.gather(1, place_BP)[:, :, None] * _BUCKETS**2
        bias_K = (self.bias_by_sessions[:, :, None] + self.bias_by_inputs).flatten()
        bias_BPL = cast(Callable[..., Tensor], _LookUp.apply)(bias_K, kind_BPL)
        query_BPD = self.query(state_BPD) / math.sqrt(input_BLD.shape[2])
        content_BPL = query_BPD @ self.key(input_BLD).transpose(1, 2)
        logit_BPL = content_BPL + self.share(state_BPD) + self.staple(input_BLD).transpose(1, 2) + bias_BPL
        masked_BPL: Tensor = logit_BPL.masked_fill(is_later_BPL, float("-inf"))
        return masked_BPL


class _LookUp(torch.autograd.Function):
    """bias_K[kind]; the gradients of millions of look-ups in a few numbers are counted, in double precision."""

    @staticmethod
    def forward(ctx: Any, bias_K: Tensor, kind_BPL: Tensor) -> Tensor:
        ctx.save_for_backward(kind_BPL)
        ctx.count = len(bias_K)
        return bias_K[kind_BPL]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (kind_BPL,) = ctx.saved_tensors
        slope = upstream[0].flatten().double()
        return torch.bincount(kind_BPL.flatten(), slope, ctx.count).to(upstream[0].dtype), None


def repeats_of(
    logit_BSL: Tensor, item_BL: Tensor, place_BS: Tensor, row_P: Tensor, at_P: Tensor, target_P: Tensor
) -> Repeats:
    """What the losses need of a pointer's logits: question p asks state at_P[p] of row row_P[p] for target_P[p].

    Several questions ask one state, and few inputs are the target, so nothing of P x L is made but where they are.
    """
    states, length = logit_BSL.shape[1:]
    state_P = row_P * states + at_P
    everything_P = torch.logsumexp(logit_BSL, dim=2).flatten().index_select(0, state_P)
    is_same_PL = item_BL.int()[row_P] == target_P.int()[:, None]
    is_same_PL &= torch.arange(length, device=row_P.device) <= place_BS[row_P, at_P][:, None]
    question_N, input_N = torch.nonzero(is_same_PL, as_tuple=True)
    logit_N = logit_BSL.flatten().index_select(0, state_P[question_N] * length + input_N)
    # Held against the question's greatest, so that no exponential overflows.
    nothing_P = logit_N.new_full(target_P.shape, float("-inf"))
    greatest_P = nothing_P.scatter_reduce(0, question_N, logit_N.detach(), "amax")
    total_P = logit_N.new_zeros(len(target_P)).index_add(0, question_N, (logit_N - greatest_P[question_N]).exp())
    return Repeats(everything_P, total_P.masked_fill(greatest_P.isneginf(), 1.0).log() + greatest_P)


def logit_by_item(item_BL: Tensor, logit_BL: Tensor) -> Tensor:
    """At each input the log of the sum of what the pointer gives to its item at all its places."""
    row_BL = torch.arange(len(item_BL), device=item_BL.device)[:, None].expand(item_BL.shape)
    pair_BL = row_BL * (int(item_BL.max()) + 1) + item_BL if item_BL.numel() else item_BL
    pairs, place_BL = torch.unique(pair_BL, return_inverse=True)
    # Held against the row's greatest, so that no exponential overflows; a row that points nowhere stays at -inf.
    greatest_B1 = logit_BL.max(1, keepdim=True).values.nan_to_num(neginf=0.0) if item_BL.numel() else logit_BL
    total = logit_BL.new_zeros(len(pairs)).index_add(0, place_BL.flatten(), (logit_BL - greatest_B1).exp().flatten())
    return total[place_BL].log() + greatest_B1


def put_repeats(score_BI: Tensor, item_BL: Tensor, logit_BL: Tensor) -> Tensor:
    """Puts in place of the scores of the items of each history what the pointer gives them.

    Inputs with the logit -inf are filling, or yet to come: their items keep their scores.
    """
    given_BL = logit_by_item(item_BL, logit_BL)
    return score_BI.scatter_(1, item_BL, torch.where(given_BL.isneginf(), score_BI.gather(1, item_BL), given_BL))


def _distances(place_BP: Tensor, place_BL: Tensor) -> Tensor:
    return place_BP[:, :, None] - place_BL[:, None, :]


def _bucket(distance: Tensor) -> Tensor:
    """0, 1, 2, 3 as they are; 4..7 is 4, 8..15 is 5, and so on. Negative distances, which are masked, are 0."""
    doublings = torch.log2(distance.clamp(min=1).float()).long() + _EXACT_DISTANCES - 2
    return torch.where(distance < _EXACT_DISTANCES, distance.clamp(min=0), doublings).clamp(max=_BUCKETS - 1)
