"""Who exists, where that is known apart from the logs: [users] of the configuration."""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Users, absolute
from nextaisle.contract.errors import ConfigurationError, InputError
from nextaisle.spark import mapping_rules


def read_listed_users(spark: SparkSession, users: Users) -> DataFrame:
    """Distinct user_id; no rows where [users] has no path.

    Raises:
        ConfigurationError: user_id is not mapped, or to a column that is not there.
        InputError: there is nothing at the path.
    """
    if not users.path:
        return spark.createDataFrame([], "user_id string")
    if "user_id" not in users.columns:
        raise ConfigurationError(f"[users.columns] has no user_id, though [users] path is {users.path}")
    reader = spark.read.format(users.format).options(**users.options)
    try:
        rows = (reader.schema(users.ddl) if users.ddl else reader).load(absolute(users.path))
    except AnalysisException as error:
        raise InputError(f"[users] path {users.path} cannot be read as {users.format}: {error}") from error
    try:
        with mapping_rules(spark):
            user_ids = rows.select(F.expr(users.columns["user_id"]).cast("string").alias("user_id"))
    except AnalysisException as error:
        raise ConfigurationError(
            f"[users.columns] user_id = {users.columns['user_id']!r} does not fit columns {rows.columns}: {error}"
        ) from error
    return user_ids.where(F.col("user_id").isNotNull()).distinct()


def fingerprint(listed_users: DataFrame) -> str:
    """Equal for the same users in any order."""
    total = F.sum(F.xxhash64("user_id").cast("decimal(38,0)"))
    row = listed_users.agg(F.count("*").alias("count"), total.alias("total")).collect()[0]
    return f"{row['count']}:{row['total']}"
