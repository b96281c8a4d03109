"""Synthetic shoppers' events in Spark: the kernel of `visits.py`, placed by one mapInArrow."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Synthetic
from nextaisle.contract.tables import EVENTS
from nextaisle.synthetic.catalogue import catalogue
from nextaisle.synthetic.randomness import Integers
from nextaisle.synthetic.visits import FUNNEL, Actions, actions, block_size

# What a shop's own log would hold of an event.
RECORD: Final = {
    "event_id": "string",
    "session_id": "string",
    "user_id": "string",
    "item_id": "string",
    "event_type": "string",
    "event_time": "timestamp",
    "price": "decimal(18,4)",
    "quantity": "decimal(18,3)",
}
_EVENTS_PER_TASK: Final = 1_000_000


def shopper_events(spark: SparkSession, shoppers: Synthetic) -> DataFrame:
    """The clean events as the table `events` holds them: nothing late, no duplicates, no bots."""
    known = {
        "event_date": F.to_date("event_time"),
        "ingest_date": F.to_date("event_time"),
        "source_session_id": F.col("session_id"),
        **{name: F.col(name) for name in RECORD},
    }
    unknown = F.lit(None)
    columns = [known.get(field.name, unknown).cast(field.dataType).alias(field.name) for field in EVENTS.schema]
    return shopper_records(spark, shoppers).select(*columns)


def shopper_records(spark: SparkSession, shoppers: Synthetic) -> DataFrame:
    """The clean events as RECORD; the number of partitions depends on their number alone."""
    expected = shoppers.users * shoppers.days * shoppers.events_per_user_day
    return records_of(spark.range(0, shoppers.users, 1, 1 + int(expected / _EVENTS_PER_TASK)), shoppers)


def records_of(users: DataFrame, shoppers: Synthetic) -> DataFrame:
    """The events of some users, given by their numbers in a bigint column."""
    return users.mapInArrow(_recording(shoppers), ", ".join(f"{name} {kind}" for name, kind in RECORD.items()))


def _recording(shoppers: Synthetic) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def record(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        size = block_size(shoppers)
        for batch in batches:
            users = np.sort(batch.column(0).to_numpy())
            for start in range(0, len(users), size):
                yield _records(actions(users[start : start + size], shoppers), shoppers)

    return record


def _records(done: Actions, shoppers: Synthetic) -> pa.RecordBatch:
    items = catalogue(shoppers.items, shoppers.seed)
    user = _join("shopper_", _text(done.user), separator="")
    is_basket = pa.array(done.kind > 0)
    quantity = pa.array(done.quantity.astype(np.int32)).cast(pa.decimal128(18, 3))
    columns = {
        "event_id": _join(user, _text(done.nth), separator="-"),
        "session_id": _join(user, _text(done.visit), separator="-v"),
        "user_id": user,
        "item_id": items.item_ids.take(pa.array(done.place)),
        "event_type": pa.array(FUNNEL).take(pa.array(done.kind)),
        "event_time": pa.array(done.time * 1000).cast(pa.timestamp("us", "UTC")),
        "price": items.prices.take(pa.array(done.place)),
        "quantity": pc.if_else(is_basket, quantity, pa.scalar(None, quantity.type)),
    }
    return pa.RecordBatch.from_pydict(columns)


def _text(numbers: Integers) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _join(left: pa.Array | str, right: pa.Array, separator: str) -> pa.Array:
    return pc.binary_join_element_wise(left, right, separator)
