"""What sections of the configuration are made of: numbers with their bounds, and what is checked alike in many."""

import difflib
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from nextaisle.contract.tokens import EVENT_TYPES


def only(found: dict[str, str], known: Sequence[str]) -> dict[str, str]:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown name {name!r}; the nearest known is {near!r}")
    return found


def _event_types(types: tuple[str, ...]) -> tuple[str, ...]:
    only(dict.fromkeys(types, ""), EVENT_TYPES)
    return types


def _as_spark_writes_it(value: object) -> object:
    """true and 3 of TOML as "true" and "3"; what is no single value stays, to be refused."""
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


Share = Annotated[float, Field(ge=0.0, le=1.0)]
# Counts have room in Spark's int; a hundred years before or after a day of the logs is still a date.
Positive = Annotated[int, Field(gt=0, lt=2**31)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31)]
Days = Annotated[int, Field(gt=0, le=36_500)]
DaysOrNone = Annotated[int, Field(ge=0, le=36_500)]
Minutes = Annotated[int, Field(gt=0, le=525_600)]
EventTypes = Annotated[tuple[str, ...], AfterValidator(_event_types)]
Options = dict[str, Annotated[str, BeforeValidator(_as_spark_writes_it)]]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Section(BaseModel):
    """A section of the configuration: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def needs_each_other(name: str, word: str, is_needed: bool, other: str, is_given: bool) -> None:
    """Nothing that is said may be read and then ignored."""
    if is_needed and not is_given:
        raise ValueError(f"{name} is {word!r} without {other}; say it too")
    if is_given and not is_needed:
        raise ValueError(f"{other} is given, and {name} is {word!r}, which takes no heed of it; say what it is for")
