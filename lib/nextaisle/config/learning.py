"""The model: what it is, and how it is trained, judged, promoted, and asked for lists."""

from datetime import date, timedelta
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from nextaisle.config.places import Place
from nextaisle.config.sections import Days, EventTypes, Name, NotNegative, Positive, Section, Share


class Model(Section):
    name: Literal["transformer", "lstm", "lstm_attention"]
    dimension: Positive
    blocks: Positive
    heads: Positive
    dropout: Share
    span: NotNegative
    has_pointer: bool
    inputs: tuple[Literal["event_type", "session_end", "department", "category", "brand", "product_type", "price"], ...]

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.dimension % self.heads:
            raise ValueError(f"dimension is {self.dimension}, expected a multiple of heads, {self.heads}")
        return self


class Training(Section):
    processes: Positive
    launcher: Literal["local", "spark"]
    loss: Literal["sampled_softmax", "cross_entropy"]
    negatives: Positive
    negative_sampling: Literal["uniform", "popularity", "mixed"]
    session_share: Share
    batch_positions: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(ge=0)]
    max_epochs: Positive
    patience: Positive
    max_minutes: Annotated[float, Field(ge=0)]
    validation_cases: NotNegative
    refit: bool
    checkpoints: Place
    seed: int


class Cuts(NamedTuple):
    """Last days of train, validation and test: a day belongs to the first of them that it does not pass."""

    last_train: date
    last_validation: date
    last_test: date


class Evaluation(Section):
    protocol: Literal["time", "leave-one-out"]
    targets: Literal["next", "window"]
    window_days: Days
    cut: date | Literal[""]
    target_event_types: EventTypes
    exclude: Literal["none", "seen"]
    ks: Annotated[tuple[Positive, ...], Field(min_length=1)]
    max_context: Positive
    user_share: Share
    neighbours: Positive

    @property
    def asks_for_window(self) -> bool:
        """Whether a list is judged by all that follows in the next days, not by the next event alone."""
        return self.protocol == "time" and self.targets == "window"

    def cuts(self, as_of: date) -> Cuts:
        """The time split for a night: window_days of test before `as_of` ends, window_days of validation before them.

        >>> settings.evaluation.cuts(date(2017, 12, 31))    # window_days = 7, cut = ""
        Cuts(last_train=2017-12-17, last_validation=2017-12-24, last_test=2017-12-31)
        """
        window = timedelta(days=self.window_days)
        cut = self.cut or as_of - window
        return Cuts(cut - window, cut, min(as_of, cut + window))


class Promotion(Section):
    metric: Annotated[str, Field(pattern="^(hr|recall|precision|f1|ndcg|mrr|map)_at_[0-9]+$")]
    tolerance: Share


class Scoring(Section):
    k: Positive
    exclude: Literal["none", "seen", "bought"]
    not_for_sale: tuple[str, ...]
    variant: Name
