import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nextaisle.model import losses
from nextaisle.model.losses import cross_entropy, sampled_softmax
from nextaisle.model.negatives import NegativeSampler, Sampling

ITEMS, WIDTH, POSITIONS = 40, 8, 30


def problem() -> tuple[torch.Tensor, ...]:
    """Random states, targets (some 0), own items, weights (some 0), item vectors and biases."""
    torch.manual_seed(1)
    target_P = torch.randint(0, ITEMS + 1, (POSITIONS,))
    weight_P = (torch.rand(POSITIONS) > 0.2).float()
    own_P = torch.randint(1, ITEMS + 1, (POSITIONS,))
    state = torch.randn(POSITIONS, WIDTH, requires_grad=True)
    item, bias = torch.randn(ITEMS + 1, WIDTH, requires_grad=True), torch.randn(ITEMS + 1, requires_grad=True)
    return state, target_P, own_P, weight_P, item, bias


def by_torch(state: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, item: torch.Tensor, bias: torch.Tensor):  # type: ignore[no-untyped-def]  # noqa: ANN201
    score = (state @ item.T + bias)[:, 1:]
    each = F.cross_entropy(score, (target - 1).clamp(min=0), reduction="none")
    return (each * weight * (target > 0)).sum()


@pytest.mark.parametrize("scores_at_once", [1, 7 * (ITEMS + 1), 1 << 24])
def test_the_chunked_cross_entropy_and_its_gradients_are_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, scores_at_once: int
) -> None:
    monkeypatch.setattr(losses, "_SCORES_AT_ONCE", scores_at_once)
    state, target, _, weight, item, bias = problem()
    found, expected = cross_entropy(state, target, weight, item, bias), by_torch(state, target, weight, item, bias)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(found * 0.5, [state, item, bias]),
        torch.autograd.grad(expected * 0.5, [state, item, bias]),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("sampling", ["uniform", "popularity", "mixed"])
def test_with_many_negatives_the_sampled_loss_is_the_full_one_however_they_are_drawn(sampling: Sampling) -> None:
    state, target, own, weight, item, bias = problem()
    sampler = NegativeSampler(np.arange(ITEMS + 1) ** 2, sampling)
    negative = sampler.draw(200_000, np.random.default_rng(1))
    # The own item counts fully and is drawn besides: as a negative it is left out, so the sum is over each item once.
    found = sampled_softmax(state, target, own, weight, item, bias, negative, sampler.log_q_I)
    assert found.item() == pytest.approx(by_torch(state, target, weight, item, bias).item(), rel=0.01)


def test_targets_that_are_none_and_rows_without_weight_count_nothing() -> None:
    state, target, own, weight, item, bias = problem()
    sampler = NegativeSampler(np.ones(ITEMS + 1), "uniform")
    negative = sampler.draw(10, np.random.default_rng(1))
    for loss in (
        sampled_softmax(state, torch.zeros_like(target), own, weight, item, bias, negative, sampler.log_q_I),
        sampled_softmax(state, target, own, torch.zeros_like(weight), item, bias, negative, sampler.log_q_I),
        cross_entropy(state, torch.zeros_like(target), weight, item, bias),
        cross_entropy(state, target, torch.zeros_like(weight), item, bias),
    ):
        assert loss.item() == 0.0
        assert not torch.autograd.grad(loss, item, allow_unused=True)[0].any()


def test_a_negative_that_is_the_target_is_no_negative() -> None:
    state, vectors, bias = torch.ones(1, 1), torch.tensor([[0.0], [2.0], [0.0], [0.0]]), torch.zeros(4)
    target, own, negative = torch.tensor([1]), torch.tensor([2]), torch.tensor([1, 3])
    uniform = torch.full((4,), float(np.log(1 / 3)))
    loss = sampled_softmax(state, target, own, torch.ones(1), vectors, bias, negative, uniform)
    # exp(2) for the target, 1 for the own item, and 1 for item 3, drawn once of two draws with chance 1/3: 3/2.
    assert loss.item() == pytest.approx(np.log((np.exp(2) + 1 + 1.5) / np.exp(2)), rel=1e-5)


def test_items_are_drawn_as_often_as_their_chance_says_and_the_padding_never() -> None:
    sampler = NegativeSampler(np.array([0, 8, 0, 1]), "mixed")
    drawn = np.bincount(sampler.draw(120_000, np.random.default_rng(1)).numpy(), minlength=4) / 120_000
    # Popularity with one added: 9, 1, 2 of 12; uniform: 4 of 12 each.
    assert drawn == pytest.approx([0, 13 / 24, 5 / 24, 6 / 24], abs=0.005)
    assert np.exp(sampler.log_q_I.numpy()[1:]) == pytest.approx([13 / 24, 5 / 24, 6 / 24])
