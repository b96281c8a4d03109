"""The configuration: one frozen model per section. The defaults stand in conf/base.toml alone; see overlays.py."""

from nextaisle.config.learning import Evaluation, Model, Promotion, Scoring, Training
from nextaisle.config.places import Store, Tracking, absolute, home, local
from nextaisle.config.policies import IdPolicy, NumberPolicy, Policies, TextPolicy
from nextaisle.config.settings import Settings, Tree, leaves
from nextaisle.config.shown import shown_setting, without_secrets
from nextaisle.config.sources import Columns, Database, Demo, Identities, Items, Source, Synthetic, Users
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

__all__ = [
    "Bots", "Columns", "Database", "Demo", "Evaluation", "Events", "Examples", "IdPolicy", "Identities", "ItemGraph",
    "Items", "Model", "NumberPolicy", "Policies", "Profiles", "Promotion", "PublishedGraph", "Quality", "Replay",
    "Scoring", "Sequences", "Sessions", "Settings", "Source", "Store", "Synthetic", "TextPolicy", "Tracking",
    "Training", "Tree", "Users", "absolute", "home", "leaves", "local", "shown_setting", "without_secrets",
]  # fmt: skip
