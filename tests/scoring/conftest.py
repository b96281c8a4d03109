"""Six items, and a champion that likes the first five of them backwards: e, d, c, b, a."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from nextaisle import overlays
from nextaisle.config import Settings, Tracking
from nextaisle.contract.tables import ITEMS, SEQUENCES, SESSIONS
from nextaisle.contract.vocabulary import vocabulary_hash
from nextaisle.model import ModelSpec, NextItemModel, save_model
from nextaisle.tracking import Tracker

DAY = date(2024, 1, 10)
KNOWN = 5  # items a to e; f is newer than the model

MakeRows = Callable[..., DataFrame]


def biased_model(vocabulary: str = "") -> NextItemModel:
    """Scores 1 to 5 for items 1 to 5, whatever the history."""
    model = NextItemModel(ModelSpec("lstm", 4, 1, 1, 0.0, 3, KNOWN, vocabulary_hash=vocabulary)).eval()
    with torch.no_grad():
        model.item.weight.zero_()
        model.item_bias.copy_(torch.arange(KNOWN + 1.0))
    return model


def vocabulary(spark: SparkSession) -> DataFrame:
    rows = [
        (name, index, DAY, name.upper(), None, None, None, None, None, None, DAY, DAY)
        for index, name in enumerate("abcdef", start=1)
    ]
    return spark.createDataFrame(rows, ITEMS.schema)


@pytest.fixture
def items(spark: SparkSession) -> DataFrame:
    return vocabulary(spark)


@pytest.fixture
def sequences(spark: SparkSession) -> MakeRows:
    """sequences(("u", 3, "ab"), ...): user, day of January 2024, items; capped=True says that there were more."""

    def make(*histories: tuple[str, int, str], event_type: str = "view", capped: bool = False) -> DataFrame:
        rows = [
            (
                user, date(2024, 1, day), len(names) + capped, list(names), [" abcdef".index(name) for name in names],
                [event_type] * len(names), [datetime(2024, 1, day, tzinfo=UTC)] * len(names), [None] * len(names),
                [True] * len(names),
            )
            for user, day, names in histories
        ]  # fmt: skip
        return spark.createDataFrame(rows, SEQUENCES.schema)

    return make


@pytest.fixture
def sessions(spark: SparkSession) -> MakeRows:
    """sessions(("u", 3, "ab"), ...): user, day of January 2024, items from 23:59 UTC on."""

    def make(*visits: tuple[str, int, str], event_type: str = "purchase", minutes_apart: int = 0) -> DataFrame:
        rows = []
        for user, day, names in visits:
            start, count = datetime(2024, 1, day, 23, 59, tzinfo=UTC), len(names)
            times = [start + timedelta(minutes=place * minutes_apart) for place in range(count)]
            rows.append((
                f"{user}{day}{names}", date(2024, 1, day), user, None, start, times[-1], count, list(names),
                [event_type] * count, times, [None] * count, [None] * count, [1] * count,
            ))  # fmt: skip
        return spark.createDataFrame(rows, SESSIONS.schema)

    return make


@pytest.fixture(scope="session")
def registry(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A tracking database in which the biased model is champion, as version 1."""
    folder = tmp_path_factory.mktemp("registry")
    places = {"uri": f"sqlite:///{folder}/mlflow.db", "artifacts": f"{folder}/mlartifacts"}
    tracking = overlays.load().tracking.model_copy(update=places)
    save_model(biased_model(vocabulary_hash(vocabulary(spark), KNOWN)), folder / "model" / "serving")
    tracker = Tracker(tracking)
    run_id = tracker.start("training", {})
    tracker.log_folder(run_id, folder / "model", "model")
    tracker.finish(run_id, "FINISHED")
    tracker.promote(tracker.register(run_id, "model"))
    return tracking


@pytest.fixture
def trained(settings: Settings, registry: Tracking) -> Settings:
    """The defaults, with a champion."""
    return settings.model_copy(update={"tracking": registry})
