"""The whole configuration, and which of its settings must fit together."""

from typing import Any, Self, cast

from pydantic import model_validator

from nextaisle.config.learning import Evaluation, Model, Promotion, Scoring, Training
from nextaisle.config.places import Store, Tracking
from nextaisle.config.sections import Section
from nextaisle.config.shown import shown_setting
from nextaisle.config.sources import Database, Demo, Identities, Items, Source, Synthetic, Users
from nextaisle.config.tables import (
    Bots,
    Events,
    Examples,
    ItemGraph,
    Profiles,
    PublishedGraph,
    Quality,
    Replay,
    Sequences,
    Sessions,
)

Tree = dict[str, Any]


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
        # The last day may be one that the clock of a device is ahead.
        ahead = self.events.days_ahead
        least = self.events.max_late_days + ahead + 2
        if self.sequences.daily_days < least:
            raise ValueError(
                f"sequences.daily_days is {self.sequences.daily_days}, expected at least events.max_late_days + "
                f"{ahead + 2}, {least}: a late event, or the session that it prolongs from the day before, would fall "
                "among rows that are compacted already, and each night would build everything"
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


def leaves(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found
