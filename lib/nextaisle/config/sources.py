"""Where the logs come from, what the shop knows beside them, and how both are mapped."""

from datetime import date
from typing import Annotated, Self
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from nextaisle.config.places import Place
from nextaisle.config.policies import Policies
from nextaisle.config.sections import NotNegative, Options, Positive, Section, Share, only
from nextaisle.contract.tokens import EVENT_TYPES

EVENT_COLUMNS = (
    "event_id", "user_id", "item_id", "event_type", "event_time", "session_id", "price", "quantity",
    "query", "rating", "position", "variant", "region", "device",
)  # fmt: skip
ITEM_COLUMNS = ("item_id", "title", "department", "category", "brand", "product_type", "price", "image", "valid_from")
USER_COLUMNS = ("user_id", "region", "age_band", "segment", "valid_from")
IDENTITY_COLUMNS = ("id", "user_id", "linked_date")


class Columns(Section):
    """A place to read from, and how its columns are mapped to ours."""

    path: Place
    format: str
    # `schema` would shadow a method of pydantic's.
    ddl: str = Field(alias="schema")
    options: Options
    columns: dict[str, str]


class Source(Columns):
    time_zone: str
    rows: str
    event_types: dict[str, str]
    policies: Policies

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return only(columns, EVENT_COLUMNS)

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, words: dict[str, str]) -> dict[str, str]:
        only(dict.fromkeys(words.values(), ""), EVENT_TYPES)
        return words

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"{zone!r} is no time zone; expected a name like 'Europe/Berlin'")
        return zone


class Items(Columns):
    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return only(columns, ITEM_COLUMNS)


class Users(Columns):
    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return only(columns, USER_COLUMNS)


class Identities(Columns):
    max_lost_share: Share

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return only(columns, IDENTITY_COLUMNS)


class Demo(Section):
    is_source: bool
    users: NotNegative


class Database(Section):
    url: str
    query: str
    password_variable: str
    options: Options

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.url:
            return self
        if not self.url.startswith("jdbc:"):
            raise ValueError(f"url is {self.url!r}, expected one like jdbc:postgresql://host/shop")
        if "{date}" not in self.query:
            raise ValueError(
                f"query is {self.query!r}, expected a SELECT of one day, with {{date}} where the day stands"
            )
        if "password" in map(str.lower, self.options):
            raise ValueError("options has a password; name the environment variable that holds it: password_variable")
        return self


class Synthetic(Section):
    users: Positive
    items: Annotated[int, Field(ge=10)]
    days: Positive
    first_date: date
    events_per_user_day: Annotated[float, Field(gt=0)]
    predictability: Share
    duplicate_share: Share
    broken_share: Share
    late_share: Share
    impossible_time_share: Share
    bots: NotNegative
    seed: int
