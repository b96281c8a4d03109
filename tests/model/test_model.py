import numpy as np
import pytest
import torch

from nextaisle.model import Inputs, ModelSpec, NextItemModel

NAMES = ("lstm", "lstm_attention", "transformer")


def model(name: str = "transformer", inputs: tuple[str, ...] = ("event_type", "session_end")) -> NextItemModel:
    torch.manual_seed(1)
    return NextItemModel(ModelSpec(name, 16, 2, 2, 0.5, 8, 30, inputs)).eval()


def inputs(*histories: list[int]) -> Inputs:
    longest = max(map(len, histories))
    items = torch.tensor([history + [0] * (longest - len(history)) for history in histories])
    lengths = torch.tensor([len(history) for history in histories])
    return Inputs(items, (items > 0).long(), torch.zeros_like(items), lengths)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_knows_nothing_of_later_events(name: str) -> None:
    encoder = model(name)
    states = encoder(inputs([1, 2, 3, 4], [1, 2, 9, 9])).state_BSD
    assert torch.allclose(states[0, :2], states[1, :2], atol=1e-6)
    assert not torch.allclose(states[0, 2:], states[1, 2:], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_sees_the_latest_inputs_of_each_history_and_the_pointer_all(name: str) -> None:
    spec = ModelSpec(name, 16, 2, 2, 0.0, 8, 30, has_pointer=True, span=3)
    spanned = NextItemModel(spec).eval()
    encoded = spanned(inputs([1, 2, 3, 4, 5], [6, 7]))
    assert encoded.place_BS.tolist() == [[2, 3, 4], [0, 1, 2]]
    alone = spanned(inputs([3, 4, 5]))
    torch.testing.assert_close(encoded.state_BSD[0], alone.state_BSD[0])
    question = spanned.ask(inputs([1, 2, 3, 4, 5], [6, 7]))
    assert question.item_BL.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert torch.isfinite(question.logit_BL).tolist() == [[True] * 5, [True, True, False, False, False]]
    torch.testing.assert_close(question.state_BD[1], spanned.ask(inputs([6, 7])).state_BD[0])


def test_a_model_that_is_not_told_of_sessions_points_as_if_there_were_none() -> None:
    torch.manual_seed(1)
    untold = NextItemModel(ModelSpec("lstm", 16, 1, 1, 0.0, 8, 30, (), has_pointer=True)).eval()
    with torch.no_grad():
        untold.pointer.bias_by_sessions.normal_()  # type: ignore[union-attr]
    plain = inputs([1, 2, 3])
    ended = plain._replace(session_end_BL=torch.tensor([[1, 0, 1]]))
    assert torch.equal(untold.ask(plain).logit_BL, untold.ask(ended).logit_BL)


@pytest.mark.parametrize("name", NAMES)
def test_the_filling_changes_nothing(name: str) -> None:
    encoder = model(name)
    alone, beside_longer = encoder.ask(inputs([5, 6])), encoder.ask(inputs([5, 6], [1] * 8))
    assert torch.allclose(alone.state_BD[0], beside_longer.state_BD[0], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_the_product_of_state_and_item_vector(name: str) -> None:
    encoder = model(name)
    with torch.no_grad():
        encoder.item_bias.normal_()
    state_BSD = encoder(inputs([5, 6, 7])).state_BSD
    expected = state_BSD[0, 2] @ encoder.item.weight.T + encoder.item_bias
    score = encoder.ask(inputs([5, 6, 7])).state_BD @ encoder.item_vectors().T
    assert torch.allclose(score[0, 1:], expected[1:], atol=1e-5)


def test_the_padding_is_below_every_item() -> None:
    score = model().ask(inputs([5])).state_BD @ model().item_vectors().T
    assert int(score.argmin()) == 0
    assert bool(torch.isfinite(score).all())


def test_the_end_of_a_session_and_the_event_type_change_the_state() -> None:
    encoder, plain = model(), inputs([5, 6])
    ended = plain._replace(session_end_BL=torch.tensor([[0, 1]]))
    bought = plain._replace(event_type_BL=torch.tensor([[1, 6]]))
    states = [encoder.ask(each).state_BD for each in (plain, ended, bought)]
    assert not torch.allclose(states[0], states[1], atol=1e-4)
    assert not torch.allclose(states[0], states[2], atol=1e-4)


def test_items_of_one_brand_share_what_is_learned_of_the_brand() -> None:
    spec = ModelSpec("lstm", 16, 1, 1, 0.0, 8, 3, ("brand",), {"brand": 2})
    branded = NextItemModel(spec, {"brand": np.array([0, 1, 1, 2])}).eval()
    with torch.no_grad():
        branded.item.weight.zero_()
    state = [branded.ask(inputs([item])).state_BD for item in (1, 2, 3)]
    assert torch.equal(state[0], state[1])
    assert not torch.allclose(state[0], state[2])
