"""The exact K best items of every user, in blocks that stay in the processor's cache.

B users, R users of one block, D width, I items with the padding at 0, T items of one block, K places, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nextaisle.contract.tokens import PADDING_INDEX

Array = npt.NDArray[Any]

# 8 MiB of scores: enough for the product to run at full speed, little enough to be read again from a shared cache.
_USERS_AT_ONCE = 256
_ITEMS_AT_ONCE = 8192
# Candidates that are scored again at once: 32 MiB in double precision at width 64.
_RESCORED_AT_ONCE = 1 << 16
# All bits of a float but its sign: flipped where it is negative, floats are in the order of their bits.
_MAGNITUDE = np.int32(0x7FFFFFFF)


def top_k(
    state_BD: Array | Tensor, vector_ID: Array | Tensor, k: int, excluded: Sequence[Array] | None,
    tie_key_I: Array, excluded_everywhere_E: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Item indices [B, K] int32 and scores [B, K] float32, best first; equal scores by `tie_key_I`, then by index.

    `excluded[b]` are the item indices that user b is not shown, `excluded_everywhere_E` those that nobody is shown;
    indices beyond I are allowed, and nobody is ever shown index 0. A list that the catalogue cannot fill ends in
    index 0 with the score -inf.

    | scores of items 1, 2, 3 | tie keys 1, 2, 3 | excluded | k | indices | scores      |
    |-------------------------|------------------|----------|---|---------|-------------|
    | .5  .9  .5              | 8  4  7          | none     | 2 | 2 3     | .9 .5       |
    | .5  .9  .5              | 8  4  7          | 2  3     | 2 | 1 0     | .5 -inf     |

    A score is the product in double precision, rounded to single: neither the blocks nor the BLAS library decide a
    tie. Products in single precision only choose the candidates, with a margin of twice their largest error.

    Raises:
        ValueError: a state or a vector is not finite.
    """
    state = _single_precision(state_BD)
    catalogue = _Catalogue.of(_single_precision(vector_ID), tie_key_I, excluded_everywhere_E)
    margin_B = catalogue.margin(state)
    index_BK = np.full((len(state), k), PADDING_INDEX, np.int32)
    score_BK = np.full((len(state), k), -np.inf, np.float32)
    for start in range(0, len(state), _USERS_AT_ONCE):
        block = slice(start, start + _USERS_AT_ONCE)
        hidden = _Hidden.of(excluded[block]) if excluded is not None else None
        found = _best_of_block(state[block], catalogue, k, hidden, margin_B[block])
        index_BK[start + found.row_C, found.place(k)] = found.item_C
        score_BK[start + found.row_C, found.place(k)] = found.score_C
    return index_BK, score_BK


@dataclass(frozen=True)
class _Catalogue:
    vector_ID: Tensor
    tie_key_I: Array
    hidden_E: Array  # what nobody is shown, ascending
    largest_norm: float

    @classmethod
    def of(cls, vector_ID: Tensor, tie_key_I: Array, hidden_E: Array | None) -> Self:
        everywhere = np.array([PADDING_INDEX]) if hidden_E is None else np.append(hidden_E, PADDING_INDEX)
        norm = (
            float(torch.linalg.vector_norm(vector_ID[PADDING_INDEX + 1 :], dim=1).amax()) if len(vector_ID) > 1 else 0.0
        )
        return cls(vector_ID, tie_key_I, np.unique(everywhere), norm)

    def margin(self, state_BD: Tensor) -> Array:
        """Twice the largest error of a score in single precision (Higham 2002, section 3.1), by user: [B]."""
        largest: Array = torch.linalg.vector_norm(state_BD, dim=1).numpy() * self.largest_norm
        if not np.isfinite(largest).all():
            raise ValueError("a user's state or an item's vector is not finite, so nothing can be ranked by it")
        # Never 0, so that an item at the bound itself stays above it.
        return 2 * (state_BD.shape[1] + 2) * np.float32(2.0**-24) * largest + np.float32(1e-30)


@dataclass(frozen=True)
class _Hidden:
    """Pairs of a block's user and an item that the user is not shown, by ascending item."""

    row_E: Array
    item_E: Array

    @classmethod
    def of(cls, excluded: Sequence[Array]) -> Self:
        row_E = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded])
        item_E = np.concatenate([*excluded, np.empty(0, np.int64)]).astype(np.int64)
        # One integer per pair sorts many times faster than the order of an array is found.
        pair_E = np.sort(item_E * len(excluded) + row_E)
        return cls(pair_E % len(excluded), pair_E // len(excluded))


@dataclass(frozen=True)
class _Candidates:
    row_C: Array
    item_C: Array
    score_C: Array

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        rows, items, scores = ([getattr(p, name) for p in parts] for name in ("row_C", "item_C", "score_C"))
        return cls(np.concatenate(rows), np.concatenate(items), np.concatenate(scores))

    def __len__(self) -> int:
        return len(self.row_C)

    def taken(self, chosen: Array) -> "_Candidates":
        return _Candidates(self.row_C[chosen], self.item_C[chosen], self.score_C[chosen])

    def place(self, k: int) -> Array:
        """0, 1, ... within each row; rows are ascending. Never reaches k after `_exact_best`."""
        return np.arange(len(self)) - np.searchsorted(self.row_C, self.row_C)


def _best_of_block(
    state_RD: Tensor, catalogue: _Catalogue, k: int, hidden: _Hidden | None, margin_R: Array
) -> _Candidates:
    """The K best of each user: those above a bound that rises as better items are found."""
    scores, mask = torch.empty(len(state_RD) * _ITEMS_AT_ONCE), np.empty(len(state_RD) * _ITEMS_AT_ONCE, bool)
    bound_R = np.full(len(state_RD), -np.inf, np.float32)
    parts = [_Candidates(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))]
    added, enough = 0, 2 * k * len(state_RD)
    for first in range(0, len(catalogue.vector_ID), _ITEMS_AT_ONCE):
        score_RT = _scores(state_RD, catalogue, hidden, first, scores)
        if first == 0:
            bound_R = _first_bound(score_RT, k) - margin_R
        parts.append(_above(score_RT, bound_R, first, mask))
        added += len(parts[-1])
        if added > enough:
            parts, added = [_near_best(_Candidates.joined(parts), k, bound_R, margin_R)], 0
            if len(parts[0]) > 2 * enough:  # ties without end
                parts = [_exact_best(parts[0], state_RD, catalogue, k)]
    return _exact_best(_near_best(_Candidates.joined(parts), k, bound_R, margin_R), state_RD, catalogue, k)


def _scores(state_RD: Tensor, catalogue: _Catalogue, hidden: _Hidden | None, first: int, buffer: Tensor) -> Array:
    """Scores of a block of items from `first` on, -inf for what is not shown; overwritten by the next block's."""
    vector_TD = catalogue.vector_ID[first : first + _ITEMS_AT_ONCE]
    shape = len(state_RD), len(vector_TD)
    score_RT: Array = torch.mm(state_RD, vector_TD.T, out=buffer[: shape[0] * shape[1]].view(shape)).numpy()
    begin, end = np.searchsorted(catalogue.hidden_E, [first, first + shape[1]])
    score_RT[:, catalogue.hidden_E[begin:end] - first] = -np.inf
    if hidden is not None:
        begin, end = np.searchsorted(hidden.item_E, [first, first + shape[1]])
        score_RT[hidden.row_E[begin:end], hidden.item_E[begin:end] - first] = -np.inf
    return score_RT


def _first_bound(score_RT: Array, k: int) -> Array:
    """At most the K-th best score of each user: the K-th best of the maxima of 4 K groups of items."""
    groups = 4 * k
    group_size = score_RT.shape[1] // groups
    if group_size == 0:
        return np.full(len(score_RT), -np.inf, np.float32)
    # Strided groups: the maximum of whole rows of a matrix is a vector operation.
    maxima = score_RT[:, : groups * group_size].reshape(len(score_RT), group_size, groups).max(axis=1)
    kth: Array = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    return kth


def _above(score_RT: Array, bound_R: Array, first: int, buffer: Array) -> _Candidates:
    is_above_RT = buffer[: score_RT.size].reshape(score_RT.shape)
    np.greater(score_RT, bound_R[:, None], out=is_above_RT)
    flat_C = np.flatnonzero(is_above_RT)
    row_C, place_C = np.divmod(flat_C, score_RT.shape[1])
    return _Candidates(row_C.astype(np.int32), (place_C + first).astype(np.int32), score_RT.ravel()[flat_C])


def _near_best(candidates: _Candidates, k: int, bound_R: Array, margin_R: Array) -> _Candidates:
    """Candidates that may be among the K best; raises `bound_R` where a user has K of them."""
    # One integer per candidate, the row and then the score downwards, sorts many times faster than two keys do.
    bits_C = candidates.score_C.view(np.int32)
    ascending_C = np.where(bits_C < 0, bits_C ^ _MAGNITUDE, bits_C).astype(np.int64)
    key_C = np.sort((candidates.row_C.astype(np.int64) << 32) - ascending_C)
    count_R = np.bincount(candidates.row_C, minlength=len(bound_R))
    full_R = np.flatnonzero(count_R >= k)
    kth_R = ((full_R << 32) - key_C[(np.cumsum(count_R) - count_R)[full_R] + k - 1]).astype(np.int32)
    kth_score_R = np.where(kth_R < 0, kth_R ^ _MAGNITUDE, kth_R).view(np.float32)
    bound_R[full_R] = np.maximum(bound_R[full_R], kth_score_R - margin_R[full_R])
    return candidates.taken(candidates.score_C > bound_R[candidates.row_C])


def _exact_best(candidates: _Candidates, state_RD: Tensor, catalogue: _Catalogue, k: int) -> _Candidates:
    """The K best of each user by exact score, tie key and index, ordered by row, then by place."""
    score_C = _exact_scores(candidates, state_RD.numpy(), catalogue.vector_ID.numpy())
    keys = (candidates.item_C, catalogue.tie_key_I[candidates.item_C], -score_C, candidates.row_C)
    order_C = np.lexsort(keys)
    ranked = _Candidates(candidates.row_C, candidates.item_C, score_C).taken(order_C)
    return ranked.taken(ranked.place(k) < k)


def _exact_scores(candidates: _Candidates, state_RD: Array, vector_ID: Array) -> Array:
    score_C = np.empty(len(candidates), np.float32)
    for start in range(0, len(candidates), _RESCORED_AT_ONCE):
        part = slice(start, start + _RESCORED_AT_ONCE)
        state_CD = state_RD[candidates.row_C[part]].astype(np.float64)
        score_C[part] = np.einsum("cd,cd->c", state_CD, vector_ID[candidates.item_C[part]].astype(np.float64))
    return score_C


def _single_precision(matrix: Array | Tensor) -> Tensor:
    return torch.as_tensor(matrix).detach().to("cpu", torch.float32).contiguous()
