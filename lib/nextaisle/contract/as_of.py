"""The table sequences, read as of a day.

A row is a user's history at the end of a day, and holds what the row before it held: a year of rows of a daily shopper
would hold each event three hundred times. So only the latest days keep all their rows. Of older months, those through
`compacted_through`, a user keeps what still answers every question: rows whose arrays follow on one another, so that
each event is there about once, and the last one. Any day is told from the row before it and the row after it, cut.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def compacted_through(last_day: date, daily_days: int) -> date:
    """The end of the latest month that was over `daily_days` before `last_day`.

    A whole month at a time, so that a night rewrites old days once a month.

    >>> compacted_through(date(2017, 12, 31), daily_days=31)
    datetime.date(2017, 11, 30)
    >>> compacted_through(date(2017, 12, 30), daily_days=31)
    datetime.date(2017, 10, 31)
    """
    return (last_day - timedelta(days=daily_days) + timedelta(days=1)).replace(day=1) - timedelta(days=1)


def histories_as_of(
    sequences: DataFrame, day: date, arrays: Sequence[str], max_events: int, time_zone: str
) -> DataFrame:
    """user_id, event_count and these `arrays` of each user, at the end of `day`; users who had not come are left out.

    An aggregate passes on one row per user and task before the shuffle. On 140,000 rows of 2,469 users it took 0.6 to
    0.8 of the time of a window, and 0.4 to 0.6 of a shuffled join with each user's newest day; only a join small
    enough to broadcast was faster.

    Of a user whose rows of the 1st, 3rd and 4th are gone, with a cap of 3 events:

    | as_of_date | events     | event_count | as of the 3rd                          |
    |------------|------------|-------------|----------------------------------------|
    | 2          | a2         | 1           | b3 c3: a2, and what the next row adds  |
    | 5          | a2 b3 c3.. | 4           | through the 3rd, the latest 3 of them  |
    """
    is_before = F.col("as_of_date") <= F.lit(day)
    latest = sequences.agg(F.max("as_of_date").alias("day")).collect()[0]["day"]
    if latest is None or latest <= day:
        newest = F.max_by(F.struct("event_count", *arrays), "as_of_date").alias("before")
        return sequences.groupBy("user_id").agg(newest).select("user_id", "before.*")
    following = dict.fromkeys(["event_count", "event_times", *arrays])
    around = sequences.groupBy("user_id").agg(
        F.max_by(F.struct("event_count", *arrays), F.when(is_before, F.col("as_of_date"))).alias("before"),
        F.min_by(F.struct(*following), F.when(~is_before, F.col("as_of_date"))).alias("next"),
    )
    # The events that the next row adds, those through the day first: `known` of it stand in the row before.
    count = F.coalesce("before.event_count", F.lit(0))
    known = F.greatest(count - F.col("next.event_count") + F.size("next.event_times"), F.lit(0)).cast("int")
    end = F.to_utc_timestamp(F.lit(day + timedelta(days=1)).cast("timestamp"), time_zone)
    through = F.size(F.filter("next.event_times", lambda time: time < end))
    added = F.coalesce(F.greatest(through - known, F.lit(0)), F.lit(0))
    told = around.withColumns({"known": known, "added": added, "total": count + added})
    columns = [_joined(name, max_events).alias(name) for name in arrays]
    return told.where("total > 0").select("user_id", F.col("total").cast("bigint").alias("event_count"), *columns)


def _joined(name: str, max_events: int) -> Column:
    before, following = F.col("before")[name], F.col("next")[name]
    both = F.when(F.col("added") == 0, before).otherwise(
        F.concat(F.coalesce(before, F.slice(following, 1, 0)), F.slice(following, F.col("known") + 1, F.col("added")))
    )
    return F.slice(both, F.greatest(F.size(both) - max_events, F.lit(0)) + 1, max_events)
