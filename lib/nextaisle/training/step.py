"""One batch: forward, backward, and one step on the gradient of all ranks together. P questions, L inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nextaisle.config import Training
from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.feed.batches import Batch
from nextaisle.model.losses import cross_entropy, sampled_softmax
from nextaisle.model.negatives import NegativeSampler
from nextaisle.model.next_item import NextItemModel
from nextaisle.model.pointer import Repeats, repeats_of
from nextaisle.training import distributed
from nextaisle.training.average import WeightAverage
from nextaisle.training.questions import asked_in_training

Array = npt.NDArray[Any]

# Steps over which the learning rate rises: Adam's first estimates of the variance are noise.
_WARM_UP_STEPS = 100

# loss(state_PD, target_P, own_P, weight_P, repeats, random): the sum over the targets; own_P is the input asked.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Repeats | None, np.random.Generator], Tensor]


def loss_of(model: NextItemModel, settings: Training, target_counts_I: Array) -> Loss:
    """The configured loss over this model's item vectors."""
    item_ID, bias_I = model.item.weight, model.item_bias
    if settings.loss == "cross_entropy":
        return lambda state, target, own, weight, repeats, random: cross_entropy(
            state, target, weight, item_ID, bias_I, repeats
        )
    sampler = NegativeSampler(target_counts_I, settings.negative_sampling)
    log_q_I = sampler.log_q_I.to(item_ID.device)

    def sampled(
        state_PD: Tensor, target_P: Tensor, own_P: Tensor, weight_P: Tensor, repeats: Repeats | None,
        random: np.random.Generator,
    ) -> Tensor:  # fmt: skip
        negative_N = sampler.draw(settings.negatives, random).to(item_ID.device)
        return sampled_softmax(state_PD, target_P, own_P, weight_P, item_ID, bias_I, negative_N, log_q_I, repeats)

    return sampled


@dataclass
class Step:
    """Model, optimizer and loss, and how often they were used."""

    model: NextItemModel
    optimizer: torch.optim.Optimizer
    loss: Loss
    average: WeightAverage
    settings: Training
    count: int = 0

    def __call__(self, batch: Batch, global_weight: float, random: np.random.Generator) -> float:
        """Learns from one batch, and returns the sum of its losses.

        The gradient is that of the mean over the targets of all ranks: each rank divides by `global_weight`, the
        targets of all of them, and the gradients are summed. So ranks may have batches of unlike size, or of none.
        """
        self.count += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(1.0, self.count / _WARM_UP_STEPS)
        with _tensor_cores(batch.target_BL.device):
            loss = self._learn(batch, global_weight, random)
        self.average.update(self.model)
        return float(loss.detach())

    def _learn(self, batch: Batch, global_weight: float, random: np.random.Generator) -> Tensor:
        with _mixed_precision(batch.target_BL.device):
            encoded = self.model(batch.inputs)
        asked = asked_in_training(batch, encoded.place_BS, self.settings.session_share)
        state_PD = encoded.state_BSD.flatten(0, 1).index_select(0, asked.flat_states(encoded.place_BS)).float()
        repeated = None
        if self.model.pointer is not None:
            logit_BSL = self.model.point(encoded, batch.inputs, encoded.state_BSD, encoded.place_BS).float()
            repeated = repeats_of(logit_BSL, batch.inputs.item_BL, encoded.place_BS, *asked[:3])
        own_P = batch.inputs.item_BL[asked.row_P, encoded.place_BS[asked.row_P, asked.at_P]]
        loss = self.loss(state_PD, asked.target_P, own_P, asked.weight_P, repeated, random)
        (loss / max(global_weight, 1.0)).backward()  # type: ignore[no-untyped-call]
        distributed.apply_gradients(self.model, self.optimizer, self.settings.clip_norm)
        return loss


def target_weight(batch: Batch) -> float:
    """Targets that count: of rows with a weight, those that are not 0."""
    return float(((batch.target_BL != PADDING_INDEX) * batch.weight_B[:, None]).sum())


@contextmanager
def _tensor_cores(device: torch.device) -> Iterator[None]:
    """On a GPU the products in single precision are of TF32 numbers, several times as fast, while a step is made."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _mixed_precision(device: torch.device) -> torch.autocast:
    # bfloat16 keeps the range of single precision, so nothing has to be scaled. On a CPU it is no faster.
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
