"""Users are dealt to tasks by ranges of their hashes, so that a later night finds them in few files."""

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.spark import staged
from nextaisle.storage.embedded import USER_HASH
from nextaisle.storage.user_ranges import range_of_user, task_of_user, with_user_hash

HASHES = {"u0": -4918730982607498257, "": -7444071767201028348, "ß": -3147238609876219756}


def ranges(rows: DataFrame) -> list[tuple[int, int]]:
    """The first and the last hash of each task, in order of the tasks."""
    bounds = rows.groupBy(F.spark_partition_id().alias("task")).agg(F.min(USER_HASH), F.max(USER_HASH))
    return [(row[1], row[2]) for row in bounds.orderBy("task").collect()]


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_each_task_has_a_range_of_users_and_the_next_task_the_next(spark: SparkSession, count: int) -> None:
    users = with_user_hash(spark.range(20_000).selectExpr("'u' || id user_id"))
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", str(count))
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
    try:
        found = ranges(staged(users, task_of_user(spark)))
        assert len(found) == count
        spark.conf.unset("spark.sql.adaptive.coalescePartitions.enabled")
        few = ranges(staged(users, task_of_user(spark)))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.adaptive.coalescePartitions.enabled")
    assert len(few) == 1  # so little that Spark gives all of it to one task
    for each in (found, few):
        ends = [end for bounds in each for end in bounds]
        assert ends == sorted(ends)
    sizes = users.groupBy(range_of_user(count)).count().orderBy("count").collect()
    assert (sizes[0]["count"], sizes[-1]["count"]) > (0.6 * 20_000 / count, 20_000 / count - 1)


def test_users_have_the_hashes_by_which_files_name_them(spark: SparkSession) -> None:
    """Other ones would find nobody in the files that are there."""
    users = spark.createDataFrame([(user,) for user in HASHES], "user_id string")
    assert {row["user_id"]: row[USER_HASH] for row in with_user_hash(users).collect()} == HASHES
