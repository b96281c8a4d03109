"""What training needs of the tables: files, counts and the vocabulary, as small things on the driver. I items."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from nextaisle.config import Settings
from nextaisle.contract.errors import GateError, InputError
from nextaisle.contract.tables import EXAMPLES, ITEMS
from nextaisle.contract.tokens import PADDING_INDEX
from nextaisle.contract.vocabulary import PRICE_BUCKETS, attribute_values, item_count, vocabulary_hash
from nextaisle.feed.reader import Files
from nextaisle.model.spec import ModelSpec
from nextaisle.storage.store import Store

Array = npt.NDArray[Any]

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_ITEM_ATTRIBUTES = ("department", "category", "brand", "product_type", "price")


@dataclass(frozen=True)
class TrainingData:
    """The examples of one night.

    `target_counts_I` holds for each split how often each item is a target, by index.
    """

    as_of: date
    spec: ModelSpec
    attribute_values: dict[str, Array]
    files: dict[str, Files]
    target_counts_I: dict[str, Array]
    versions: dict[str, int]

    def counts(self, splits: Sequence[str]) -> Array:
        total: Array = np.sum([self.target_counts_I[split] for split in splits], axis=0)
        return total

    def joined(self, splits: Sequence[str]) -> Files:
        parts = [self.files[split] for split in splits]
        urls = tuple(url for part in parts for url in part.urls)
        return Files(urls, sum(part.row_count for part in parts), self.spec.length)


def read_training_data(store: Store, settings: Settings, last: date | None) -> TrainingData:
    """The examples as of the night's last day, or, without one, as of the newest day that has any.

    Raises:
        InputError: there are no examples of that day.
        GateError: there are, but none to train on.
    """
    as_of = last or _newest_day(store)
    spec, values = _spec(store, settings, as_of)
    splits = (TRAIN, VALIDATION, TEST)
    files = {split: _files(store, as_of, split, spec.length) for split in splits}
    if not any(part.urls for part in files.values()):
        raise InputError(f"table examples has no rows as of {as_of}; build_examples for that day makes them")
    if not files[TRAIN].row_count:
        raise GateError(f"no examples as of {as_of} are for training; see [evaluation] protocol, cut and window_days")
    counts = _target_counts(store, as_of, spec.item_count)
    versions = {name: version.number for name, version in store.versions_read.items()}
    return TrainingData(as_of, spec, values, files, counts, versions)


def _newest_day(store: Store) -> date:
    days = store.span(EXAMPLES)
    if days is None:
        raise InputError("table examples has no rows; build_examples makes them")
    return days[1]


def _spec(store: Store, settings: Settings, as_of: date) -> tuple[ModelSpec, dict[str, Array]]:
    """The model for the items seen through `as_of`. Their indices are a prefix: later items got later ones."""
    items = store.read(ITEMS).where(F.col("first_seen_date") <= F.lit(as_of)).where(F.col("valid_from") <= F.lit(as_of))
    count, model = item_count(items), settings.model
    values = attribute_values(items, [name for name in model.inputs if name in _ITEM_ATTRIBUTES], count)
    cardinalities = {name: int(found.max(initial=0)) for name, found in values.items()}
    if "price" in cardinalities:
        cardinalities["price"] = PRICE_BUCKETS
    spec = ModelSpec(
        model.name, model.dimension, model.blocks, model.heads, model.dropout, settings.examples.length, count,
        model.inputs, cardinalities, vocabulary_hash(store.read(ITEMS), count), model.has_pointer, model.span,
    )  # fmt: skip
    return spec, values


def _files(store: Store, as_of: date, split: str, length: int) -> Files:
    active = store.active_files(EXAMPLES, f"as_of_date = DATE'{as_of:%Y-%m-%d}' AND split = '{split}'")
    return Files(tuple(file.url for file in active), sum(file.row_count for file in active), length)


def _target_counts(store: Store, as_of: date, item_count: int) -> dict[str, Array]:
    examples = store.read(EXAMPLES).where(F.col("as_of_date") == F.lit(as_of))
    targets = examples.select("split", F.explode("target_indices").alias("item_index"))
    counted = targets.where(F.col("item_index") != PADDING_INDEX).groupBy("split", "item_index").count().toPandas()
    counts = {}
    for split in (TRAIN, VALIDATION, TEST):
        rows = counted[counted["split"] == split]
        counts[split] = np.zeros(item_count + 1, np.int64)
        counts[split][rows["item_index"].to_numpy(np.int64)] = rows["count"].to_numpy(np.int64)
    return counts
