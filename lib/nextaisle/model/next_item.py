"""The model: histories in, a state per position out; its product with an item's vector is the score of a new item.

B sequences, L inputs, S of them encoded, D width, I items with the padding at 0.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nextaisle.contract.tokens import EVENT_TYPE_COUNT, PADDING_INDEX
from nextaisle.model.encoders import LstmAttentionEncoder, LstmEncoder, TransformerEncoder
from nextaisle.model.inputs import Inputs
from nextaisle.model.pointer import Pointer
from nextaisle.model.spec import MODEL_NAMES, ModelSpec

Array = npt.NDArray[Any]

# Small, so that the first scores are nearly equal and the first loss is log(items).
_INITIAL_SCALE = 0.02
# The padding's bias: no item is ever below it, and it stays finite in single precision.
_NEVER = -1e9


class Question(NamedTuple):
    """What an item's score is made of: log(sum of exp(logit) where item is i), else state . vector(i); see pointer.py.

    state_BD has D + 1 columns, the last 1 for the items' biases; item_BL and logit_BL are the history that the pointer
    points to, of no columns where the model has none.
    """

    state_BD: Tensor
    item_BL: Tensor
    logit_BL: Tensor


class Encoded(NamedTuple):
    """state_BSD: what is expected after each of the latest S inputs; input_BLD: what the pointer knows all inputs by.

    State s of sequence b stands at input place_BS[b, s]. With L 5 and S 3:

    | length_B | place_BS |
    |----------|----------|
    | 5        | 2 3 4    |
    | 4        | 1 2 3    |
    | 2        | 0 1 2    | the last one is filling
    """

    state_BSD: Tensor
    input_BLD: Tensor
    place_BS: Tensor


class NextItemModel(nn.Module):
    """Item embeddings, what else is known of each event added to them, an encoder, and the same embeddings to score.

    The encoder sees the latest inputs, the pointer all of them: to remember that somebody buys rye bread costs one
    product of vectors, to think about it costs a layer. The item's bias carries its popularity, so the state need not.
    """

    def __init__(self, spec: ModelSpec, attribute_values: Mapping[str, Array] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.item = nn.Embedding(spec.item_count + 1, spec.dimension)
        self.item_bias = nn.Parameter(torch.zeros(spec.item_count + 1))
        self.event_type = nn.Embedding(EVENT_TYPE_COUNT, spec.dimension) if "event_type" in spec.inputs else None
        self.session_end = nn.Embedding(2, spec.dimension) if "session_end" in spec.inputs else None
        self.attributes = nn.ModuleDict(
            {name: nn.Embedding(spec.cardinalities[name] + 1, spec.dimension) for name in spec.attributes}
        )
        for name in spec.attributes:
            values = None if attribute_values is None else torch.from_numpy(attribute_values[name].astype(np.int64))
            empty = torch.zeros(spec.item_count + 1, dtype=torch.int64)
            self.register_buffer(f"{name}_of_item", empty if values is None else values)
        # Embeddings start small; without this the layers would drown them, and learn by heart instead.
        self.input_norm = nn.LayerNorm(spec.dimension)
        self.dropout = nn.Dropout(spec.dropout)
        self.encoder = _encoder(spec)
        self.norm = nn.LayerNorm(spec.dimension)
        self.pointer = Pointer(spec.dimension, spec.item_count, spec.length) if spec.has_pointer else None
        self.apply(_initialise)

    def forward(self, inputs: Inputs) -> Encoded:
        input_BLD = self.item(inputs.item_BL)
        for name in self.spec.attributes:
            input_BLD = input_BLD + self.attributes[name](self.get_buffer(f"{name}_of_item")[inputs.item_BL])
        if self.event_type is not None:
            input_BLD = input_BLD + self.event_type(inputs.event_type_BL)
        if self.session_end is not None:
            input_BLD = input_BLD + self.session_end(inputs.session_end_BL)
        input_BLD = self.dropout(self.input_norm(input_BLD))
        place_BS = self._encoded_places(inputs)
        if place_BS.shape == inputs.item_BL.shape:
            return Encoded(self.norm(self.encoder(input_BLD)), input_BLD, place_BS)
        latest_BSD = input_BLD.gather(1, place_BS[:, :, None].expand(-1, -1, input_BLD.shape[2]))
        return Encoded(self.norm(self.encoder(latest_BSD)), input_BLD, place_BS)

    def _encoded_places(self, inputs: Inputs) -> Tensor:
        encoded = min(self.spec.encoded_length, inputs.item_BL.shape[1])
        first_B = (inputs.length_B - encoded).clamp(min=0)
        return first_B[:, None] + torch.arange(encoded, device=first_B.device)

    def ask(self, inputs: Inputs) -> Question:
        """What ranks all items for each sequence, at its last input; see Question.

        A sequence without inputs gets the state of the padding; callers give such users what is popular.
        """
        last_B = (inputs.length_B - 1).clamp(min=0)
        encoded = self(inputs)
        rows_B = torch.arange(len(last_B), device=last_B.device)
        state_BD = encoded.state_BSD[rows_B, last_B - encoded.place_BS[:, 0]]
        with_one_BD = torch.cat([state_BD, torch.ones_like(state_BD[:, :1])], dim=1)
        if self.pointer is None:
            return Question(with_one_BD, inputs.item_BL[:, :0], with_one_BD[:, :0])
        logit_BL = self.point(encoded, inputs, state_BD[:, None], last_B[:, None])[:, 0]
        is_filling_BL = inputs.item_BL == PADDING_INDEX
        return Question(with_one_BD, inputs.item_BL, logit_BL.masked_fill(is_filling_BL, float("-inf")))

    def point(self, encoded: Encoded, inputs: Inputs, state_BPD: Tensor, place_BP: Tensor) -> Tensor:
        """logit_BPL of the pointer: how strongly the state at input `place` points to each input.

        Raises:
            ValueError: the model has none.
        """
        if self.pointer is None:
            raise ValueError("the model has no pointer")
        ends_BL = inputs.session_end_BL
        # A model that is not told of sessions must not learn of them here: at scoring one always ends.
        told_BL = ends_BL if self.session_end is not None else torch.zeros_like(ends_BL)
        logit_BPL: Tensor = self.pointer(state_BPD, encoded.input_BLD, told_BL, place_BP)
        return logit_BPL

    def item_vectors(self) -> Tensor:
        """[I, D + 1] with `score = state_BD @ item_vectors().T` before repeats; row 0 is below every item."""
        bias_I = self.item_bias.clone()
        bias_I[PADDING_INDEX] = _NEVER
        return torch.cat([self.item.weight, bias_I[:, None]], dim=1)


def _encoder(spec: ModelSpec) -> nn.Module:
    match spec.name:
        case "lstm":
            return LstmEncoder(spec.dimension, spec.blocks, spec.dropout)
        case "lstm_attention":
            return LstmAttentionEncoder(spec.dimension, spec.blocks, spec.heads, spec.dropout)
        case "transformer":
            return TransformerEncoder(spec.dimension, spec.blocks, spec.heads, spec.dropout, spec.encoded_length)
    raise ValueError(f"model {spec.name!r} is none of {MODEL_NAMES}")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=_INITIAL_SCALE)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_INITIAL_SCALE)
        nn.init.zeros_(module.bias)
