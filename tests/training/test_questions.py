import pytest
import torch

from nextaisle.feed.batches import Batch
from nextaisle.model import Inputs
from nextaisle.training.questions import Questions, asked_in_training, asked_in_validation

PLACES = torch.arange(4)[None, :]


def batch(session_ends: list[int], targets: list[int]) -> Batch:
    items = torch.tensor([[11, 12, 13, 14]])
    ends, lengths = torch.tensor([session_ends]), torch.tensor([4])
    return Batch(Inputs(items, torch.ones_like(items), ends, lengths), torch.tensor([targets]), torch.tensor([1.0]))


def asked(questions: Questions) -> list[tuple[int, int, float]]:
    """State, target, weight."""
    columns = (questions.at_P, questions.target_P, questions.weight_P)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_a_target_within_a_session_is_asked_of_the_event_before_it_and_of_what_came_before_the_session() -> None:
    """Inputs 11 12 | 13 14 and targets 12 | 13 14 15: the session of 13 begins after input 12."""
    found = asked(asked_in_training(batch([0, 1, 0, 0], [12, 13, 14, 15]), PLACES, session_share=0.25))
    # 12 has nothing before its session; 13 opens its own.
    assert found == [(0, 12, 1.0), (1, 13, 1.0), (1, 14, 0.25), (1, 15, 0.25), (2, 14, 0.75), (3, 15, 0.75)]


def test_every_target_weighs_as_much_as_before() -> None:
    questions = asked_in_training(batch([1, 1, 0, 0], [12, 0, 14, 15]), PLACES, session_share=0.5)
    assert float(questions.weight_P.sum()) == 3.0


def test_with_no_share_only_the_event_before_is_asked() -> None:
    found = asked(asked_in_training(batch([0, 1, 0, 0], [0, 13, 14, 15]), PLACES, session_share=0.0))
    assert found == [(1, 13, 1.0), (2, 14, 1.0), (3, 15, 1.0)]


def test_a_session_that_began_before_what_is_encoded_is_asked_of_the_event_before_alone() -> None:
    found = asked(asked_in_training(batch([1, 0, 0, 0], [12, 13, 14, 15]), PLACES[:, 2:], session_share=0.5))
    assert found == [(0, 14, 1.0), (1, 15, 1.0)]


@pytest.mark.parametrize(
    ("is_before_session", "states"), [(False, [(1, 13), (2, 14), (3, 15)]), (True, [(1, 13), (1, 14), (1, 15)])]
)
def test_validation_asks_each_target_once(is_before_session: bool, states: list[tuple[int, int]]) -> None:
    questions = asked_in_validation(batch([0, 1, 0, 0], [0, 13, 14, 15]), PLACES, is_before_session)
    assert [(at, target) for at, target, _ in asked(questions)] == states
