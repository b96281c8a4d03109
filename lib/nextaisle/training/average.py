"""The running average of a model's weights: what is judged and kept."""

import torch

from nextaisle.model.next_item import NextItemModel

# Half of the average is the last 350 steps.
_DECAY = 0.998
# In the first steps the average is over fewer: weights before them are nearly the random ones.
_EARLY_STEPS = 10


class WeightAverage:
    """An exponential average over the steps (Polyak & Juditsky 1992): what a falling learning rate would bring, without
    having to know when training ends.
    """

    def __init__(self, model: NextItemModel) -> None:
        self.model = NextItemModel(model.spec).to(next(model.parameters()).device).eval()
        self.model.load_state_dict(model.state_dict())
        self._count = 0

    @torch.no_grad()
    def update(self, model: NextItemModel) -> None:
        self._count += 1
        kept = min(_DECAY, self._count / (self._count + _EARLY_STEPS))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1.0 - kept)
