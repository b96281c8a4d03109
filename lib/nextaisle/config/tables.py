"""The rules by which tables of the data are made and checked."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from nextaisle.config.sections import Days, DaysOrNone, EventTypes, Minutes, NotNegative, Positive, Section, Share, only
from nextaisle.contract.reasons import REASONS


class Events(Section):
    earliest: Annotated[date, Field(ge=date(1900, 1, 1))]  # Parquet's days before are of two calendars
    clock_skew_minutes: Annotated[int, Field(ge=0, le=525_600)]
    max_late_days: DaysOrNone
    max_per_user_day: Positive
    max_rejected_share: Share
    identical_records: Literal["keep", "drop"]
    unknown_types: Literal["reject", "keep"]
    rejected_days: DaysOrNone

    @property
    def days_ahead(self) -> int:
        """How many days after a day of logs its events may lie: the last moment that is taken is part of it."""
        return 1 + self.clock_skew_minutes // 1440

    @model_validator(mode="after")
    def _rejected_as_long_as_events_come(self) -> Self:
        if 0 < self.rejected_days < self.max_late_days + 2:
            raise ValueError(
                f"rejected_days is {self.rejected_days}, expected 0 or at least max_late_days + 2, "
                f"{self.max_late_days + 2}: a late event is judged with what was refused of its user's day"
            )
        return self


class Bots(Section):
    events_per_minute: NotNegative
    events_per_day: NotNegative
    items_per_minute: NotNegative
    hours_without_pause: Annotated[int, Field(ge=0, le=24)]
    pause_minutes: Minutes
    max_user_share: Share


class Replay(Section):
    reasons: tuple[str, ...]
    counts_only: bool

    @field_validator("reasons")
    @classmethod
    def _known_reasons(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        only(dict.fromkeys(names, ""), REASONS)
        return names


class Sessions(Section):
    gap_minutes: Minutes
    max_hours: Annotated[int, Field(gt=0, le=24)]
    collapse_types: EventTypes


class Sequences(Section):
    max_events: Positive
    daily_days: Days


class Profiles(Section):
    category: Literal["department", "category", "product_type"]
    interest_event_types: EventTypes
    favourites: Positive
    window_days: Days
    price_days: Days
    max_distinct: Positive


class ItemGraph(Section):
    event_types: EventTypes
    max_distance: Positive
    max_basket_items: Annotated[int, Field(ge=2)]


class PublishedGraph(Section):
    half_life_days: Annotated[float, Field(gt=0, le=3650)]
    neighbours: Positive


class Examples(Section):
    length: Annotated[int, Field(ge=2)]
    stride: Positive

    @model_validator(mode="after")
    def _stride_fits(self) -> Self:
        if self.stride > self.length:
            raise ValueError(f"stride is {self.stride}, expected at most length, {self.length}")
        return self


class Quality(Section):
    in_nightly: bool
    sample_rows: NotNegative
    reference_days: Annotated[int, Field(ge=7, multiple_of=7, le=36_500)]
    min_reference_days: Days
    psi_warning: Annotated[float, Field(gt=0)]
    psi_error: Annotated[float, Field(gt=0)]
    volume_warning: Annotated[float, Field(gt=1)]
    volume_error: Annotated[float, Field(gt=1)]
    severities: dict[str, Literal["error", "warning", "off"]]

    @model_validator(mode="after")
    def _errors_lie_beyond_warnings(self) -> Self:
        for name in ("psi", "volume"):
            warning, error = getattr(self, f"{name}_warning"), getattr(self, f"{name}_error")
            if error < warning:
                raise ValueError(f"{name}_error is {error}, expected at least {name}_warning, {warning}")
        return self
