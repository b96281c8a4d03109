"""Profiles as they stand at the end of any day, read from the table, in Spark."""

from datetime import date, timedelta
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Profiles
from nextaisle.contract.tables import USER_PROFILES
from nextaisle.profiles.measures import DECIMALS

# What a plain reader says for `recency_days`, as of a day of their choice.
RECENCY_SQL: Final = "datediff({as_of}, last_purchase_date)"
_STATE: Final = (
    "category_counts", "brand_counts", "hour_counts", "weekday_counts", "recent_category_counts", "bought_item_ids",
)  # fmt: skip
_WINDOWS: Final = ("recent_entropy", "earlier_entropy", "interest_drift")


def entropy(counts: Column) -> Column:
    """Shannon entropy, in bits, of an array of counts; null for an empty one. The table's own is `measures.entropy`.

    | counts | entropy |
    |--------|---------|
    | 3      | 0.0     |
    | 2 2    | 1.0     |
    | 2 1 1  | 1.5     |
    """
    total = F.aggregate(counts, F.lit(0).cast("bigint"), lambda sum_, count: sum_ + count)
    # The total goes along with the sum: written into `add` it would be summed up again for each count.
    start = F.struct(total.cast("double").alias("total"), F.lit(0.0).alias("entropy"))

    def add(so_far: Column, count: Column) -> Column:
        share = count.cast("double") / so_far["total"]
        return F.struct(so_far["total"].alias("total"), (so_far["entropy"] - share * F.log2(share)).alias("entropy"))

    return F.when(total > 0, F.aggregate(counts, start, add, lambda so_far: F.round(so_far["entropy"], DECIMALS)))


def share(part: Column, whole: Column) -> Column:
    """part / whole as a double; null where there is no whole."""
    return F.when(whole > 0, part.cast("double") / whole.cast("double"))


def published_profiles(user_profiles: DataFrame, as_of: date, rules: Profiles) -> DataFrame:
    """Each user's profile as it stands at the end of `as_of`, whether they did something on that day or not.

    Beside the table's columns, but those that only the next build needs:

    | column           | meaning                                                                                    |
    |------------------|--------------------------------------------------------------------------------------------|
    | recency_days     | days since the last purchase: RECENCY_SQL; null without one                                |
    | tenure_days      | days since the first purchase: lifetimes' T                                                |
    | view_to_cart     | carted_count / viewed_count                                                                |
    | cart_to_purchase | cart_purchased_count / carted_count                                                        |
    | view_to_purchase | view_purchased_count / viewed_count                                                        |

    recent_entropy, earlier_entropy and interest_drift are of the two windows that end on `as_of`.
    """
    known = user_profiles.where(F.col("as_of_date") <= F.lit(as_of))
    # The days first, which are narrow; then the rows of those days.
    latest = known.groupBy("user_id").agg(F.max("as_of_date").alias("as_of_date"))
    rows = known.join(latest, ["user_id", "as_of_date"], "left_semi")
    columns = {
        "recency_days": F.datediff(F.lit(as_of), "last_purchase_date"),
        "tenure_days": F.datediff(F.lit(as_of), "first_purchase_date"),
        "view_to_cart": share(F.col("carted_count"), F.col("viewed_count")),
        "cart_to_purchase": share(F.col("cart_purchased_count"), F.col("carted_count")),
        "view_to_purchase": share(F.col("view_purchased_count"), F.col("viewed_count")),
    }
    kept = [name for name in USER_PROFILES.names if name not in (*_STATE, *_WINDOWS)]
    windows = _window_entropies(rows, as_of, rules.window_days)
    return rows.withColumns(columns).select(*kept, *columns).join(windows, "user_id", "left")


def _window_entropies(rows: DataFrame, as_of: date, days: int) -> DataFrame:
    """user_id, recent_entropy, earlier_entropy, interest_drift: of the two windows of `days` that end on `as_of`."""
    daily = rows.select("user_id", F.inline("recent_category_counts"))
    since = as_of - timedelta(days=2 * days - 1)
    is_recent = F.col("event_date") > F.lit(as_of - timedelta(days=days))
    by_category = (
        daily.where(F.col("event_date") >= F.lit(since))
        .groupBy("user_id", "category", is_recent.alias("is_recent"))
        .agg(F.sum("event_count").alias("event_count"))
    )
    # In the order of the table's own windows: the most first, then by name.
    entry = F.struct((-F.col("event_count")).alias("less"), "category", "event_count")
    counts = {
        name: F.sort_array(F.collect_list(F.when(F.col("is_recent") == F.lit(flag), entry)))["event_count"]
        for name, flag in (("recent_entropy", True), ("earlier_entropy", False))
    }
    by_user = by_category.groupBy("user_id").agg(*(column.alias(name) for name, column in counts.items()))
    entropies = by_user.withColumns({name: entropy(F.col(name)) for name in counts})
    return entropies.withColumn("interest_drift", F.col("recent_entropy") - F.col("earlier_entropy"))
