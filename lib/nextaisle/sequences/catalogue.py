"""What the shop knows of its items, read as the configuration maps it."""

from typing import Final

from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Items
from nextaisle.contract.tables import ITEMS
from nextaisle.mapped import fingerprint
from nextaisle.sequences.states import read_states

ATTRIBUTES: Final = ("title", "department", "category", "brand", "product_type", "price", "image")


def read_catalogue(spark: SparkSession, source: Items, zone: str) -> DataFrame:
    """item_id and every attribute, one row per item; with valid_from mapped, one per item and day of a change."""
    return read_states(spark, source, "items", ITEMS, ATTRIBUTES, zone)


def catalogue_state(spark: SparkSession, source: Items, zone: str) -> str:
    """A string that changes when the catalogue's contents do."""
    return fingerprint(read_catalogue(spark, source, zone))
