from threading import Event

import pytest
from pyspark.sql import SparkSession

from nextaisle.contract.errors import SchemaError
from nextaisle.spark import beside, local_rows, staged


def test_work_beside_goes_on_meanwhile_in_a_pool_of_its_own(spark: SparkSession) -> None:
    has_begun, may_end = Event(), Event()

    def work() -> tuple[int, str | None]:
        has_begun.set()
        assert may_end.wait(60)
        return spark.range(3).count(), spark.sparkContext.getLocalProperty("spark.scheduler.pool")

    with beside(spark, work) as found:
        assert has_begun.wait(60)
        assert spark.range(2).count() == 2
        may_end.set()
    assert found.result() == (3, "beside")
    assert spark.sparkContext.getLocalProperty("spark.scheduler.pool") is None


def test_its_error_is_raised_where_its_result_is_asked_for(spark: SparkSession) -> None:
    with beside(spark, lambda: 1 // 0) as found:
        pass
    with pytest.raises(ZeroDivisionError):
        found.result()


def test_rows_of_the_driver_are_those_and_none_is_null_where_it_may_not_be(spark: SparkSession) -> None:
    schema = "a int not null, b map<string, int>"
    assert local_rows(spark, [(1, {"x": 2}), (3, None)], schema).collect() == [(1, {"x": 2}), (3, None)]
    with pytest.raises(SchemaError, match="column a is null in 1 of 2 rows"):
        local_rows(spark, [(1, None), (None, None)], schema)


def test_of_no_rows_that_are_staged_spark_knows_that_there_are_none(spark: SparkSession) -> None:
    nothing = local_rows(spark, [], "a int")
    joined = spark.range(3).toDF("a").join(staged(nothing, "a"), "a", "left_anti")
    assert "Join" not in joined._jdf.queryExecution().optimizedPlan().toString()
    assert (joined.count(), staged(nothing).schema) == (3, nothing.schema)
    assert [row.a for row in staged(spark.range(3).toDF("a"), "a").orderBy("a").collect()] == [0, 1, 2]
