"""Who exists, where that is known apart from the logs: [users] of the configuration."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Users
from nextaisle.mapped import read_mapped


def read_listed_users(spark: SparkSession, users: Users, zone: str) -> DataFrame:
    """Distinct user_id; no rows where [users] has no path. Raises what `read_mapped` raises."""
    return read_mapped(spark, users, "users", {"user_id": "string"}, ("user_id",), zone).distinct()


def fingerprint(listed_users: DataFrame) -> str:
    """Equal for the same users in any order."""
    total = F.sum(F.xxhash64("user_id").cast("decimal(38,0)"))
    row = listed_users.agg(F.count("*").alias("count"), total.alias("total")).collect()[0]
    return f"{row['count']}:{row['total']}"
