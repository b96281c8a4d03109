import math

import pytest
import torch

from nextaisle.model.losses import cross_entropy, sampled_softmax
from nextaisle.model.pointer import Pointer, Repeats, _bucket, put_repeats, repeats_of


def test_distances_fall_into_buckets_that_double() -> None:
    distances = torch.tensor([-1, 0, 1, 2, 3, 4, 7, 8, 15, 16, 100_000])
    assert _bucket(distances).tolist() == [0, 0, 1, 2, 3, 4, 4, 5, 5, 6, 11]


def test_a_state_points_to_its_own_input_and_earlier_ones_only() -> None:
    torch.manual_seed(1)
    places = torch.arange(3)[None, :]
    logits = Pointer(4, 10, 5)(torch.randn(1, 3, 4), torch.randn(1, 3, 4), torch.zeros(1, 3, dtype=torch.long), places)
    assert torch.isfinite(logits)[0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_one_state_points_as_it_does_among_all() -> None:
    torch.manual_seed(1)
    state, inputs, ends = torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 1]])
    pointer = Pointer(4, 10, 5)
    everywhere = pointer(state, inputs, ends, torch.arange(5).expand(2, 5))
    last = pointer(state[:, 4:], inputs, ends, torch.full((2, 1), 4))
    torch.testing.assert_close(last, everywhere[:, 4:])


def test_sessions_ago_count_from_the_session_of_the_input() -> None:
    pointer = Pointer(4, 10, 5)
    with torch.no_grad():
        for parameter in pointer.parameters():
            parameter.zero_()
        pointer.bias_by_sessions[1] = torch.arange(12.0)
    # Sessions: a a | b | c, and the state at the last input predicts a session after c.
    logits = pointer(torch.zeros(1, 1, 4), torch.zeros(1, 4, 4), torch.tensor([[0, 1, 1, 1]]), torch.tensor([[3]]))
    assert logits[0, 0].tolist() == [2.0, 2.0, 1.0, 0.0]


def test_scores_of_repeated_items_add_up_all_their_places_and_forget_the_product() -> None:
    score = torch.tensor([[-1e9, 0.0, 1.0, 2.0]])
    items, weights = torch.tensor([[3, 1, 3, 0]]), torch.tensor([[0.5, -1.0, 0.25, float("-inf")]])
    expected = [0.0, math.exp(-1.0), math.exp(1.0), math.exp(0.5) + math.exp(0.25)]
    assert put_repeats(score, items, weights).exp()[0].tolist() == pytest.approx(expected)


def test_items_that_are_yet_to_come_keep_their_scores() -> None:
    score = torch.tensor([[-1e9, 0.0, 1.0, 2.0]])
    items, weights = torch.tensor([[3, 1, 3, 2]]), torch.tensor([[0.5, -1.0, float("-inf"), float("-inf")]])
    assert put_repeats(score, items, weights)[0, 1:].tolist() == pytest.approx([-1.0, 1.0, 0.5])


def test_both_losses_and_their_gradients_are_those_of_the_mixture() -> None:
    """The second target is new; the others weigh what the pointer gives them."""
    torch.manual_seed(1)
    state, item, bias = (torch.randn(*shape, requires_grad=True) for shape in ((3, 4), (6, 4), (6,)))
    everything = torch.randn(3, requires_grad=True)
    of_target = torch.tensor([-0.5, float("-inf"), 0.3], requires_grad=True)
    target, weight = torch.tensor([5, 2, 1]), torch.tensor([1.0, 2.0, 1.0])
    plain = (state @ item.T + bias)[:, 1:].exp()
    of_new = torch.stack([of_target[0].exp(), plain[1, 1], of_target[2].exp()])
    share = of_new / (plain.sum(1) + everything.exp())
    expected = -(weight * share.log()).sum()
    pointed = Repeats(everything, of_target)
    parameters = [state, item, bias, everything, of_target]
    # Each item drawn once with chance 1/5: the estimate of the sum is the sum.
    sampled = sampled_softmax(
        state, target, target, weight, item, bias, torch.arange(1, 6), torch.full((6,), -math.log(5)), pointed
    )
    wanted = torch.autograd.grad(expected, parameters, retain_graph=True)
    for loss in (cross_entropy(state, target, weight, item, bias, pointed), sampled):
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        for mine, theirs in zip(torch.autograd.grad(loss, parameters), wanted, strict=True):
            torch.testing.assert_close(mine, torch.nan_to_num(theirs), atol=1e-5, rtol=1e-4)


def test_what_the_losses_are_told_is_what_the_pointer_says() -> None:
    """Two windows of three inputs; the pointer of the latest two is asked, one of them twice."""
    torch.manual_seed(1)
    pointer, state, inputs = Pointer(4, 10, 5), torch.randn(2, 2, 4), torch.randn(2, 3, 4)
    items, places = torch.tensor([[7, 8, 7], [9, 9, 9]]), torch.tensor([[1, 2], [1, 2]])
    logits = pointer(state, inputs, torch.zeros(2, 3, dtype=torch.long), places)
    row, at, target = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 0]), torch.tensor([7, 7, 9, 9])
    told = repeats_of(logits, items, places, row, at, target)
    torch.testing.assert_close(told.everything_P, torch.logsumexp(logits, 2)[row, at])
    # The input behind a state is not pointed to; window 0 has no 9; both nines before the state count.
    both_nines = torch.logsumexp(logits[1, 0, :2], 0)
    both_sevens = torch.logsumexp(logits[0, 1, [0, 2]], 0)
    expected = torch.stack([logits[0, 0, 0], both_sevens, torch.tensor(float("-inf")), both_nines])
    torch.testing.assert_close(told.target_P, expected)


def test_the_pointers_biases_learn_as_their_sum_over_all_look_ups_says() -> None:
    torch.manual_seed(1)
    pointer = Pointer(4, 10, 5).double()
    state, inputs = torch.randn(2, 3, 4).double(), torch.randn(2, 5, 4).double()
    ends, places = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]]), torch.tensor([[2, 3, 4], [0, 1, 2]])

    def total(by_inputs: torch.Tensor, by_sessions: torch.Tensor) -> torch.Tensor:
        biases = {"bias_by_inputs": by_inputs, "bias_by_sessions": by_sessions}
        logits: torch.Tensor = torch.func.functional_call(pointer, biases, (state, inputs, ends, places))
        return logits.logsumexp(2).sum()

    start = (torch.randn(12).double().requires_grad_(), torch.randn(2, 12).double().requires_grad_())
    assert torch.autograd.gradcheck(total, start)
