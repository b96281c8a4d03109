"""Which users were bots on which days: the rules of [bots] over all that a user did on a day of the shop.

Events are counted in Spark's aggregations, which spill, before anything else is done to them: of a user with ten
million events on a day no more than a row per minute ever comes together.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Bots

USER_DAY: Final = ("user_id", "event_date")
RULE: Final = "rule"
# All that the rules look at.
JUDGED_BY: Final = (*USER_DAY, "event_time", "event_type", "item_id")
# What the shop shows, and the lines of one receipt, say nothing about how fast somebody acts.
_NOT_COUNTED: Final = ("impression", "purchase", "return")


def bot_days(events: DataFrame, rules: Bots) -> DataFrame:
    """(user_id, event_date, rule) of each user's day that breaks a rule; of several the first in the order of [bots].

    | a user's day                                                         | rule                |
    |----------------------------------------------------------------------|---------------------|
    | 300 views between 10:00:00 and 10:00:59                              | null                |
    | 301 views between 10:00:00 and 10:00:59                              | events_per_minute   |
    | 151 views from 10:00:30 to 10:00:59, 151 from 10:01:00 to 10:01:29   | null                |
    | one view every 29:59 from 01:00 until after 21:00                    | hours_without_pause |
    | one view every 30:00 from 01:00 until after 21:00                    | null                |

    `events` holds whole days; those of at most `least_events` break no rule, and need not be among them.
    """
    acts = events.where(~F.col("event_type").isin(*_NOT_COUNTED))
    days = _days(_minutes(acts), rules)
    return days.withColumn(RULE, _first_broken(rules)).where(F.col(RULE).isNotNull()).select(*USER_DAY, RULE)


def least_events(rules: Bots) -> int | None:
    """A day with no more events than this breaks no rule; None where all of them are off."""
    # With pauses shorter than pause_minutes so many events, and one more, do not fill the hours yet.
    apart = 1 + rules.hours_without_pause * 60 // rules.pause_minutes if rules.hours_without_pause else 0
    limits = [rules.events_per_minute, rules.events_per_day, rules.items_per_minute, apart]
    return min((limit for limit in limits if limit), default=None)


def _minutes(events: DataFrame) -> DataFrame:
    """One row per user, day and minute of the clock: events, different items, first and last microsecond."""
    time = F.unix_micros("event_time")
    ends = (F.min(time).alias("first"), F.max(time).alias("last"))
    minute = F.floor(F.unix_seconds("event_time") / 60).alias("minute")
    # By item first, so that a minute of a million different items is not a set of a million in memory.
    by_item = events.groupBy(*USER_DAY, minute, "item_id").agg(F.count("*").alias("events"), *ends)
    return by_item.groupBy(*USER_DAY, "minute").agg(
        F.sum("events").alias("events"), F.count("item_id").alias("items"),
        F.min("first").alias("first"), F.max("last").alias("last"),
    )  # fmt: skip


def _days(minutes: DataFrame, rules: Bots) -> DataFrame:
    """One row per user and day: the fullest minute, the sum, and the longest time without a pause in microseconds.

    A pause cannot lie within a minute, so that the ends of minutes tell all of them.
    """
    order = Window.partitionBy(*USER_DAY).orderBy("minute")
    gap = F.col("first") - F.lag("last").over(order)
    begins = F.coalesce(gap >= rules.pause_minutes * 60_000_000, F.lit(True))
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    runs = minutes.withColumn("begin", F.when(begins, F.col("first")))
    runs = runs.withColumn("length", F.col("last") - F.max("begin").over(so_far))
    return runs.groupBy(*USER_DAY).agg(
        F.max("events").alias("events_per_minute"), F.sum("events").alias("events_per_day"),
        F.max("items").alias("items_per_minute"), F.max("length").alias("length"),
    )  # fmt: skip


def _first_broken(rules: Bots) -> Column:
    def over(name: str, limit: int) -> Column:
        return (F.col(name) > limit) & F.lit(limit > 0)

    without_pause = (F.col("length") >= rules.hours_without_pause * 3_600_000_000) & F.lit(
        rules.hours_without_pause > 0
    )
    tests = {
        "events_per_minute": over("events_per_minute", rules.events_per_minute),
        "events_per_day": over("events_per_day", rules.events_per_day),
        "items_per_minute": over("items_per_minute", rules.items_per_minute),
        "hours_without_pause": without_pause,
    }
    return F.coalesce(*(F.when(test, F.lit(name)) for name, test in tests.items()))
