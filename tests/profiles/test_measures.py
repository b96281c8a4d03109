import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Settings
from nextaisle.contract.tables import USER_PROFILES
from nextaisle.profiles import RECENCY_SQL, measures, published, published_profiles
from tests.profiles.rows import entropy_of

FIRST_DAY = date(2024, 1, 1)


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number - 1)


def profile(user: str, as_of: int, recent: list[tuple[int, str, int]], **columns: object) -> dict[str, Any]:
    """A row of which only what a test names matters. `recent`: day, category, events."""
    return {
        **{column.name: None if column.is_nullable else 0 for column in USER_PROFILES.columns},
        "user_id": user, "as_of_date": day(as_of), "last_event_time": datetime(2024, 1, 1, tzinfo=UTC),
        "first_event_date": FIRST_DAY, "event_counts": {}, "event_money": {}, "purchase_money": Decimal(0),
        "paid_money": Decimal(0), "mean_price_money": Decimal(0),
        **{column.name: [] for column in USER_PROFILES.columns if column.type.startswith("array")},
        "recent_category_counts": [Row(event_date=day(n), category=c, event_count=k) for n, c, k in recent],
        **columns,
    }  # fmt: skip


def profiles(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    return spark.createDataFrame([Row(**row) for row in rows], USER_PROFILES.schema)


def test_entropy_is_shannons_in_bits_here_and_in_spark(spark: SparkSession) -> None:
    counts = [[3], [2, 2], [2, 1, 1], [], [7, 5, 3, 2, 1]]
    rows = spark.createDataFrame([(each,) for each in counts], "counts array<bigint>")
    in_spark = [row.entropy for row in rows.select(published.entropy(F.col("counts")).alias("entropy")).collect()]
    here = measures.entropy(pa.array(counts, pa.list_(pa.int64()))).tolist()
    for found in (in_spark, [None if math.isnan(each) else each for each in here]):
        assert found[:4] == [0.0, 1.0, 1.5, None]
        assert found[4] == pytest.approx(entropy_of(counts[4]), abs=1e-12)


def test_a_profile_as_of_a_day_is_the_latest_row_until_then_and_grows_older(
    spark: SparkSession, settings: Settings
) -> None:
    rows = profiles(
        spark,
        profile(
            "u", 2, [(2, "a", 1)], last_purchase_date=day(2), first_purchase_date=day(1), viewed_count=4, carted_count=2
        ),
        profile("u", 5, [(2, "a", 1)], viewed_count=5),
        profile("v", 3, []),
        profile("w", 5, []),
    )
    found = {row.user_id: row for row in published_profiles(rows, day(4), settings.profiles).collect()}
    assert sorted(found) == ["u", "v"]
    u, v = found["u"], found["v"]
    assert (u.as_of_date, u.recency_days, u.tenure_days) == (day(2), 2, 3)
    assert (u.view_to_cart, u.cart_to_purchase, u.view_to_purchase) == (0.5, 0.0, 0.0)
    assert (v.recency_days, v.view_to_cart, v.recent_entropy, v.interest_drift) == (None, None, None, None)
    assert not {"category_counts", "bought_item_ids"} & set(u.asDict())
    recency = RECENCY_SQL.format(as_of="DATE'2024-01-04'")
    assert rows.where("user_id = 'u' and viewed_count = 4").selectExpr(recency).collect() == [(2,)]


def test_windows_slide_to_the_day_that_is_asked_for(spark: SparkSession, settings: Settings) -> None:
    rules = settings.profiles.model_copy(update={"window_days": 2})
    rows = profiles(
        spark, profile("u", 4, [(1, "a", 1), (2, "a", 1), (3, "a", 2), (3, "b", 1), (4, "b", 1)], recent_entropy=9.0)
    )
    as_of = {number: published_profiles(rows, day(number), rules).collect()[0] for number in (4, 5, 6, 7)}
    shown = {number: (row.recent_entropy, row.earlier_entropy, row.interest_drift) for number, row in as_of.items()}
    # Of day 4: days 3 and 4 against 1 and 2; of day 5: day 4 against 2 and 3, 3 a and 1 b; of day 7 only day 4 is left.
    skewed = pytest.approx(entropy_of([3, 1]), abs=1e-12)
    assert shown[4] == (1.0, 0.0, 1.0)
    assert shown[5][:2] == (0.0, skewed)
    assert shown[6] == (None, 1.0, None)
    assert shown[7] == (None, 0.0, None)
