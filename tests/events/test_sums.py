"""Keys that come often, beside Python's Counter."""

import random
from collections import Counter

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nextaisle.events import sums


def test_keys_are_told_by_how_often_they_come_in_each_tally(spark: SparkSession) -> None:
    chance = random.Random(1)
    new, old = ([chance.randint(-300, 300) for _ in range(count)] for count in (500, 200))
    kinds = {"a": F.col("k"), "b": F.lit(1)}
    known = [sums.tally(spark.createDataFrame([(k,) for k in [*keys, None]], "k bigint"), kinds) for keys in (new, old)]
    found = sums.tallied("a", known, lambda times, before: (times > 0) & (times + before > 2))
    times, before = Counter(new), Counter(old)
    expected = sorted(key for key in times if times[key] + before[key] > 2)
    assert sorted(row[sums.KEY] for row in found.collect()) == expected
