"""The configuration: one frozen model per section. The defaults stand in conf/base.toml alone; see overlays.py."""

import difflib
import os
import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, cast
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from nextaisle.contract.reasons import REASONS
from nextaisle.contract.tokens import EVENT_TYPES

Share = Annotated[float, Field(ge=0.0, le=1.0)]
# Counts fit Spark's int; days reach from any day to one that a date can be, also a hundred years of them.
Positive = Annotated[int, Field(gt=0, lt=2**31)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31)]
Days = Annotated[int, Field(gt=0, le=36_500)]
DaysOrNone = Annotated[int, Field(ge=0, le=36_500)]
Minutes = Annotated[int, Field(gt=0, le=525_600)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Tree = dict[str, Any]
_URI = re.compile(r"[A-Za-z][\w+.-]*:/")


def _place(path: str) -> str:
    """A path, or a URI of any of Hadoop's file systems."""
    if re.match(r"file://[^/]|[A-Za-z][\w+.-]*:(?!/)", path):
        raise ValueError(f"{path!r} is no place; expected a path, or a URI like hdfs://host/logs or file:///logs")
    return path


Place = Annotated[str, AfterValidator(_place)]
# Options of Spark's readers that hold no secret, in lower case; the value of any other is hidden.
_HARMLESS = (
    "basepath", "charset", "comment", "compression", "dateformat", "delimiter", "driver", "emptyvalue", "encoding",
    "enforceschema", "escape", "fetchsize", "header", "ignoreleadingwhitespace", "ignoretrailingwhitespace",
    "inferschema", "linesep", "locale", "lowerbound", "maxcharspercolumn", "maxcolumns", "mergeschema", "mode",
    "multiline", "nullvalue", "numpartitions", "partitioncolumn", "pathglobfilter", "primitivesasstring", "quote",
    "recursivefilelookup", "sep", "timestampformat", "timestampntzformat", "timezone", "upperbound", "user",
)  # fmt: skip
_URL = re.compile(r"(?i)\b(jdbc:\w{1,30}:|[a-z][\w+.-]{0,30}:(?=//))(\S+)")
_QUERY = re.compile(r"[?;#]")
# Azure's name a container before the @.
_CONTAINER = re.compile(r"//[^/:@]+@[^@]*")
_AZURE = ("abfs:", "abfss:", "wasb:", "wasbs:")
_SECRET_IN_TEXT = re.compile(r"(?i)((?:passw|pwd|secret|token|credential|(?:api|access|account)_?key)\w{0,30}=)[^\s&]+")
_HIDDEN = "***"

EVENT_COLUMNS = (
    "event_id", "user_id", "item_id", "event_type", "event_time", "session_id", "price", "quantity",
    "query", "rating", "position", "variant", "region", "device",
)  # fmt: skip
ITEM_COLUMNS = ("item_id", "title", "department", "category", "brand", "product_type", "price", "image", "valid_from")
USER_COLUMNS = ("user_id", "region", "age_band", "segment", "valid_from")
IDENTITY_COLUMNS = ("id", "user_id", "linked_date")


class Section(BaseModel):
    """A section of the configuration: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(Section):
    """A place to read from, and how its columns are mapped to ours."""

    path: Place
    format: str
    # `schema` would shadow a method of pydantic's.
    ddl: str = Field(alias="schema")
    options: dict[str, str]
    columns: dict[str, str]


class Policy(Section):
    """What becomes of a column's values that are missing or odd, in events of some types; none named: of all."""

    event_types: tuple[str, ...]

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        _only(dict.fromkeys(types, ""), EVENT_TYPES)
        return types


class NumberPolicy(Policy):
    missing: Literal["keep", "reject", "constant", "median", "most_frequent"]
    constant: Decimal | Literal[""]
    min: Decimal | Literal[""]
    max: Decimal | Literal[""]
    odd: Literal["keep", "reject", "null", "clip"]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _needs_each_other("missing", self.missing, self.missing == "constant", "constant", self.constant != "")
        _needs_each_other("odd", self.odd, self.odd != "keep", "min or max", self.min != "" or self.max != "")
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
        _needs_each_other("missing", self.missing, self.missing == "constant", "constant", bool(self.constant))
        _needs_each_other("odd", self.odd, self.odd != "keep", "pattern", bool(self.pattern))
        return self


class IdPolicy(Policy):
    """Of an id: without one a record is refused anyway, or the event needs none."""

    pattern: str
    odd: Literal["keep", "reject"]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _needs_each_other("odd", self.odd, self.odd != "keep", "pattern", bool(self.pattern))
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


class Source(Columns):
    time_zone: str
    rows: str
    event_types: dict[str, str]
    policies: Policies

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return _only(columns, EVENT_COLUMNS)

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, words: dict[str, str]) -> dict[str, str]:
        _only(dict.fromkeys(words.values(), ""), EVENT_TYPES)
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
        return _only(columns, ITEM_COLUMNS)


class Users(Columns):
    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return _only(columns, USER_COLUMNS)


class Identities(Columns):
    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return _only(columns, IDENTITY_COLUMNS)


class Demo(Section):
    is_source: bool
    users: NotNegative


class Database(Section):
    url: str
    query: str
    password_variable: str
    options: dict[str, str]

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


class Events(Section):
    earliest: Annotated[date, Field(ge=date(1900, 1, 1))]  # Parquet's days before are of two calendars
    clock_skew_minutes: Annotated[int, Field(ge=0, le=525_600)]
    max_late_days: DaysOrNone
    max_per_user_day: Positive
    max_rejected_share: Share
    identical_records: Literal["keep", "drop"]
    unknown_types: Literal["reject", "keep"]
    rejected_days: DaysOrNone

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
        _only(dict.fromkeys(names, ""), REASONS)
        return names


class Sessions(Section):
    gap_minutes: Minutes
    max_hours: Annotated[int, Field(gt=0, le=24)]
    collapse_types: tuple[str, ...]

    @field_validator("collapse_types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        _only(dict.fromkeys(types, ""), EVENT_TYPES)
        return types


class Sequences(Section):
    max_events: Positive
    daily_days: Days


class Examples(Section):
    length: Annotated[int, Field(ge=2)]
    stride: Positive

    @model_validator(mode="after")
    def _stride_fits(self) -> Self:
        if self.stride > self.length:
            raise ValueError(f"stride is {self.stride}, expected at most length, {self.length}")
        return self


class Profiles(Section):
    category: Literal["department", "category", "product_type"]
    interest_event_types: tuple[str, ...]
    favourites: Positive
    window_days: Days
    price_days: Days
    max_distinct: Positive

    @field_validator("interest_event_types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        _only(dict.fromkeys(types, ""), EVENT_TYPES)
        return types


class ItemGraph(Section):
    event_types: tuple[str, ...]
    max_distance: Positive
    max_basket_items: Annotated[int, Field(ge=2)]

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        _only(dict.fromkeys(types, ""), EVENT_TYPES)
        return types


class PublishedGraph(Section):
    half_life_days: Annotated[float, Field(gt=0, le=3650)]
    neighbours: Positive


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
    target_event_types: tuple[str, ...]
    exclude: Literal["none", "seen"]
    ks: Annotated[tuple[Positive, ...], Field(min_length=1)]
    max_context: Positive
    user_share: Share
    neighbours: Positive

    @field_validator("target_event_types")
    @classmethod
    def _known_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        _only(dict.fromkeys(types, ""), EVENT_TYPES)
        return types

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


class Store(Section):
    root: Annotated[Place, Field(pattern="^[^`]*$")]  # within a backtick Delta finds no table
    database: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,63})?$")]


class Tracking(Section):
    uri: str
    artifacts: Place
    experiment: str
    model_name: Annotated[str, Field(pattern=r"^[\w .-]+$")]  # MLflow's filters have no quotes within a name


class Settings(Section):
    """The whole configuration, resolved: as logged, and as written to MLflow."""

    source: Source
    items: Items
    users: Users
    identities: Identities
    demo: Demo
    database: Database
    events: Events
    bots: Bots
    replay: Replay
    sessions: Sessions
    sequences: Sequences
    profiles: Profiles
    item_graph: ItemGraph
    published_graph: PublishedGraph
    examples: Examples
    model: Model
    training: Training
    evaluation: Evaluation
    promotion: Promotion
    scoring: Scoring
    quality: Quality
    synthetic: Synthetic
    store: Store
    tracking: Tracking

    @model_validator(mode="after")
    def _histories_reach_as_far_as_windows(self) -> Self:
        if self.sequences.max_events < self.examples.length:
            raise ValueError(
                f"sequences.max_events is {self.sequences.max_events}, expected at least examples.length, "
                f"{self.examples.length}: scoring would see less of a history than training and judging do"
            )
        return self

    @model_validator(mode="after")
    def _late_events_change_daily_rows(self) -> Self:
        if self.sequences.daily_days < self.events.max_late_days:
            raise ValueError(
                f"sequences.daily_days is {self.sequences.daily_days}, expected at least events.max_late_days, "
                f"{self.events.max_late_days}: a late event would fall among rows that are compacted already, and each "
                "night would build everything"
            )
        return self

    @model_validator(mode="after")
    def _span_holds_every_target(self) -> Self:
        if 0 < self.model.span < self.examples.stride:
            raise ValueError(
                f"model.span is {self.model.span}, expected at least examples.stride, {self.examples.stride}: a target "
                "is foreseen from an input that the encoder sees"
            )
        return self

    @model_validator(mode="after")
    def _metric_of_promotion_is_measured(self) -> Self:
        if int(self.promotion.metric.rpartition("_")[2]) not in self.evaluation.ks:
            raise ValueError(
                f"promotion.metric is {self.promotion.metric!r}, expected one at a cut-off of evaluation.ks, "
                f"{list(self.evaluation.ks)}"
            )
        return self

    def flat(self) -> dict[str, Any]:
        """`{"sessions.gap_minutes": 30, ...}`: every leaf under its dotted name, secrets hidden."""
        return dict(leaves(self.shown()))

    def shown(self) -> Tree:
        """The whole tree, as it may be logged and kept: without passwords, be it in options or in URIs."""
        return cast(Tree, shown_setting(self.model_dump(mode="json", by_alias=True)))


def home() -> Path:
    """The folder of spark-submit.sh, where relative paths of the configuration start."""
    return Path(os.environ.get("NEXTAISLE_HOME", Path(__file__).resolve().parents[2]))


def absolute(path: str) -> str:
    """A path of the configuration, made absolute; a URI stays as it is, of file:/// one stroke, as Spark writes it."""
    if path.startswith("file:///"):
        return path.replace("///", "/", 1)
    return path if not path or path.startswith("/") or _URI.match(path) else str(home() / path)


def local(path: str) -> Path:
    """The same as a path of this machine, be it said as file:///."""
    return Path(absolute(path).removeprefix("file:"))


def leaves(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def shown_setting(value: object, key: str = "") -> object:
    """A setting, as `database.options.user`, or a tree of them, as it may be shown: most options hidden."""
    if isinstance(value, dict):
        return {name: shown_setting(each, f"{key}.{name}") for name, each in value.items()}
    _, is_option, option = f"{key}.".partition("options.")
    if is_option and value and option[:-1].lower() not in _HARMLESS:
        return _HIDDEN
    if isinstance(value, list | tuple):
        return [shown_setting(each, key) for each in value]
    return without_secrets(value) if isinstance(value, str) else value


def without_secrets(text: str) -> str:
    """A text, as it may be shown: of URLs neither who asks nor what is asked.

    | text                                         | shown                            |
    |----------------------------------------------|----------------------------------|
    | no server at http://ann:secret@host/         | no server at http://***@host/    |
    | jdbc:mysql://host/shop?user=ann&key=secret   | jdbc:mysql://host/shop?***       |
    | jdbc:oracle:thin:ann/secret@//host:1521/shop | jdbc:oracle:***@//host:1521/shop |
    """
    return _SECRET_IN_TEXT.sub(rf"\1{_HIDDEN}", _URL.sub(_shown_url, text))


def _shown_url(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    place, *query = _QUERY.split(rest, maxsplit=1)
    if query and "@" in query[0]:  # of a password with a question mark, or behind one: nobody can tell
        return scheme + _HIDDEN
    user, _, host = place.rpartition("@")
    if user and not (scheme.lower() in _AZURE and _CONTAINER.fullmatch(place)):
        place = f"{'//' * place.startswith('//')}{_HIDDEN}@{host}"
    if query:
        mark = rest[len(rest) - len(query[0]) - 1]
        place += mark + (_HIDDEN if "=" in query[0] else query[0])
    return scheme + place


def _needs_each_other(name: str, word: str, is_needed: bool, other: str, is_given: bool) -> None:
    """Nothing that is said may be read and then ignored."""
    if is_needed and not is_given:
        raise ValueError(f"{name} is {word!r} without {other}; say it too")
    if is_given and not is_needed:
        raise ValueError(f"{other} is given, and {name} is {word!r}, which takes no heed of it; say what it is for")


def _only(found: dict[str, str], known: Sequence[str]) -> dict[str, str]:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown name {name!r}; the nearest known is {near!r}")
    return found
