"""Who exists, where that is known apart from the logs: [users] of the configuration."""

from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Users
from nextaisle.mapped import read_mapped


def read_listed_users(spark: SparkSession, users: Users, zone: str) -> DataFrame:
    """Distinct user_id; no rows where [users] has no path. Raises what `read_mapped` raises."""
    return read_mapped(spark, users, "users", {"user_id": "string"}, ("user_id",), zone).distinct()
