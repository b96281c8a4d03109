"""Causal encoders: what is known at each position from it and those before. B sequences, L positions, D width.

Histories are filled on the right, so a causal encoder never sees the filling before a true event, and needs no mask.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Width of the feed-forward layer in units of the model's, as in Vaswani et al. 2017.
_WIDENING = 4


class CausalAttention(nn.Module):
    """Attention of each position to itself and those before it, from normalised input, added to the input."""

    def __init__(self, dimension: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dimension)
        self.query_key_value = nn.Linear(dimension, 3 * dimension)
        self.output = nn.Linear(dimension, dimension)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state_BLD: Tensor) -> Tensor:
        sequences, length, dimension = state_BLD.shape
        shape = (sequences, length, 3, self.heads, dimension // self.heads)
        query, key, value = self.query_key_value(self.norm(state_BLD)).view(shape).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        change_BLD: Tensor = self.dropout(self.output(mixed.transpose(1, 2).reshape(state_BLD.shape)))
        return state_BLD + change_BLD


class FeedForward(nn.Module):
    """Two layers at each position, from normalised input, added to the input."""

    def __init__(self, dimension: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimension)
        self.widen = nn.Linear(dimension, _WIDENING * dimension)
        self.narrow = nn.Linear(_WIDENING * dimension, dimension)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state_BLD: Tensor) -> Tensor:
        hidden = self.dropout(F.gelu(self.widen(self.norm(state_BLD))))
        change_BLD: Tensor = self.dropout(self.narrow(hidden))
        return state_BLD + change_BLD


class TransformerEncoder(nn.Module):
    """SASRec (Kang & McAuley 2018) with normalisation before each layer, which needs no warm-up to be stable."""

    def __init__(self, dimension: int, blocks: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.position = nn.Embedding(length, dimension)
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers += [CausalAttention(dimension, heads, dropout), FeedForward(dimension, dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, state_BLD: Tensor) -> Tensor:
        place_L = torch.arange(state_BLD.shape[1], device=state_BLD.device)
        encoded: Tensor = self.layers(state_BLD + self.position(place_L))
        return encoded


class LstmEncoder(nn.Module):
    """GRU4Rec's idea (Hidasi et al. 2016) with an LSTM; its states carry the order, so it needs no positions."""

    def __init__(self, dimension: int, blocks: int, dropout: float) -> None:
        super().__init__()
        between = dropout if blocks > 1 else 0.0
        self.lstm = nn.LSTM(dimension, dimension, blocks, batch_first=True, dropout=between)

    def forward(self, state_BLD: Tensor) -> Tensor:
        hidden_BLD: Tensor = self.lstm(state_BLD)[0]
        return hidden_BLD


class LstmAttentionEncoder(nn.Module):
    """An LSTM whose states look back at one another, as NARM (Li et al. 2017) does from the last one."""

    def __init__(self, dimension: int, blocks: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.lstm = LstmEncoder(dimension, blocks, dropout)
        self.attention = CausalAttention(dimension, heads, dropout)

    def forward(self, state_BLD: Tensor) -> Tensor:
        attended: Tensor = self.attention(self.lstm(state_BLD))
        return attended
