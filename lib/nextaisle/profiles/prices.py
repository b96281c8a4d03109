"""What things cost: each category's mean price, that users' payments are held against.

A user's price level is what they paid over what the same pieces cost at mean prices: the household price index of
Aguiar and Hurst, Life-Cycle Prices and Production, American Economic Review 97 (2007), with categories for goods.
The mean is that of the days up to the purchase, so no later event changes it.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.contract.tables import CATEGORY_PRICES

_EPOCH: Final = "1970-01-01"
_MONEY: Final = "decimal(18,4)"
_MONEY_OF_EVENT: Final = "decimal(15,4)"
_MEAN: Final = "decimal(24,6)"


def with_money(events: DataFrame) -> DataFrame:
    """`events` with pieces, 1 where unknown, and money: price times pieces, rounded to 4 decimals (half up).

    Money is null where the price is unknown, or where it is 1e11 or more: a user's sum must have room in its column.
    """
    pieces = F.coalesce("quantity", F.lit(1).cast("decimal(18,3)"))
    money = (F.col("price") * F.col("pieces")).try_cast(_MONEY_OF_EVENT).cast(_MONEY)
    return events.withColumn("pieces", pieces).withColumn("money", money)


def category_prices_of(events: DataFrame) -> DataFrame:
    """Rows of category_prices; `events` have category, pieces and money."""
    totals = {
        "purchase_count": F.count("*"),
        "pieces": F.sum("pieces").cast("decimal(28,3)"),
        "money": F.sum("money").cast("decimal(28,4)"),
    }
    days = events.where(_is_priced()).groupBy("category", "event_date")
    rows = days.agg(*(total.alias(name) for name, total in totals.items()))
    return rows.select(*CATEGORY_PRICES.names).sortWithinPartitions("event_date", "category")


def mean_prices(category_prices: DataFrame, days: int) -> DataFrame:
    """category, event_date, mean_price to 6 decimals: money over pieces of the last `days` days, this one included.

    | event_date | pieces | money |      | event_date | mean_price, days = 2 |
    |------------|--------|-------|      |------------|----------------------|
    | 1st        | 1      | 1     |      | 1st        | 1                    |
    | 2nd        | 3      | 9     |  ->  | 2nd        | 10 / 4               |
    | 4th        | 1      | 2     |      | 4th        | 2                    |
    """
    day = F.datediff("event_date", F.lit(_EPOCH).cast("date"))
    window = Window.partitionBy("category").orderBy(day).rangeBetween(1 - days, 0)
    mean = (F.sum("money").over(window) / F.sum("pieces").over(window)).cast(_MEAN)
    return category_prices.select("category", "event_date", mean.alias("mean_price"))


def with_mean_money(events: DataFrame, means: DataFrame) -> DataFrame:
    """`events` with paid_money and mean_price_money, of purchases that category_prices counts; else both null."""
    joined = events.join(means, ["category", "event_date"], "left")
    mean_money = F.when(_is_priced(), (F.col("pieces") * F.col("mean_price")).try_cast(_MONEY))
    joined = joined.withColumn("mean_price_money", mean_money).drop("mean_price")
    return joined.withColumn("paid_money", F.when(F.col("mean_price_money").isNotNull(), F.col("money")))


def _is_priced() -> Column:
    is_purchase = (F.col("event_type") == "purchase") & (F.col("pieces") > 0)
    return is_purchase & F.col("money").isNotNull() & F.col("category").isNotNull()
