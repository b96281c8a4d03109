"""[source.policies]: what becomes of values that are missing or odd."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import model_validator

from nextaisle.config.sections import EventTypes, Section, needs_each_other


class Policy(Section):
    """What becomes of a column's values that are missing or odd, in events of some types; none named: of all."""

    event_types: EventTypes


class NumberPolicy(Policy):
    missing: Literal["keep", "reject", "constant", "median", "most_frequent"]
    constant: Decimal | Literal[""]
    min: Decimal | Literal[""]
    max: Decimal | Literal[""]
    odd: Literal["keep", "reject", "null", "clip"]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needs_each_other("missing", self.missing, self.missing == "constant", "constant", self.constant != "")
        needs_each_other("odd", self.odd, self.odd != "keep", "min or max", self.min != "" or self.max != "")
        if self.min != "" and self.max != "" and self.min > self.max:
            raise ValueError(f"min is {self.min}, expected at most max, {self.max}")
        return self


class TextPolicy(Policy):
    missing: Literal["keep", "reject", "constant", "most_frequent"]
    constant: str
    pattern: str
    odd: Literal["keep", "reject", "null"]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needs_each_other("missing", self.missing, self.missing == "constant", "constant", bool(self.constant))
        needs_each_other("odd", self.odd, self.odd != "keep", "pattern", bool(self.pattern))
        return self


class IdPolicy(Policy):
    """Of an id: without one a record is refused anyway, or the event needs none."""

    pattern: str
    odd: Literal["keep", "reject"]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needs_each_other("odd", self.odd, self.odd != "keep", "pattern", bool(self.pattern))
        return self


# Decimals that a column keeps, and the least number that is too great for it: events cannot hold another.
_ROOM = {"price": (4, 10**14), "quantity": (3, 10**15), "position": (0, 2**31)}


class Policies(Section):
    user_id: IdPolicy
    item_id: IdPolicy
    price: NumberPolicy
    quantity: NumberPolicy
    rating: NumberPolicy
    position: NumberPolicy
    session_id: TextPolicy
    query: TextPolicy
    variant: TextPolicy
    region: TextPolicy
    device: TextPolicy

    @model_validator(mode="after")
    def _numbers_fit_their_columns(self) -> Self:
        for name, (places, limit) in _ROOM.items():
            policy: NumberPolicy = getattr(self, name)
            for number in (policy.constant, policy.min, policy.max):
                if number != "" and (abs(number) >= limit or number != round(number, places)):
                    raise ValueError(
                        f"{name} has {number}, expected less than {limit:,} and at most {places} decimals, as events "
                        "has them"
                    )
        return self

    def by_column(self) -> dict[str, NumberPolicy | TextPolicy | IdPolicy]:
        return {name: getattr(self, name) for name in type(self).model_fields}
