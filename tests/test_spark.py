from threading import Event

import pytest
from pyspark.sql import SparkSession

from nextaisle.spark import beside


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
