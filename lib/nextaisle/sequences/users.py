"""What the shop knows of its users, and rows of the table users: who exists, and what they were from which day on."""

from datetime import date
from typing import Final

from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Users
from nextaisle.contract.tables import USERS
from nextaisle.mapped import fingerprint
from nextaisle.sequences.states import changed_states, read_states

_ATTRIBUTES: Final = ("region", "age_band", "segment")


def read_users(spark: SparkSession, source: Users, zone: str) -> DataFrame:
    """user_id and every attribute, one row per user; with valid_from mapped, one per user and day of a change."""
    return read_states(spark, source, "users", USERS, _ATTRIBUTES, zone)


def users_state(spark: SparkSession, source: Users, zone: str) -> str:
    """A string that changes when what is known of users does."""
    return fingerprint(read_users(spark, source, zone))


def changed_users(source: DataFrame, users: DataFrame, through: date) -> DataFrame:
    """Rows to merge into `users`: of every user that `source` knows, whether they did something or not."""
    return changed_states(source, users, "user_id", _ATTRIBUTES, through).select(*USERS.names)
