"""Several ids of one user, joined from the day on which that is known."""

from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

LINK: Final = ("id", "linked_date", "user_id")


def with_linked_users(events: DataFrame, identities: DataFrame) -> DataFrame:
    """`events` under the users that their ids are linked to on event_date; an id without a link then stays.

    Of an id with several links the latest that holds counts: a shared tablet belongs to whoever logged in last. Links
    are not followed: a link names the user at its end.

    | identities: id, linked_date, user_id |      | events: user_id, event_date | user_id |
    |--------------------------------------|      |-----------------------------|---------|
    | cookie  2024-01-05  ann              |      | cookie  2024-01-04          | cookie  |
    | cookie  2024-01-09  bob              |  ->  | cookie  2024-01-05          | ann     |
    |                                      |      | cookie  2024-01-09          | bob     |
    """
    held = F.sort_array(F.collect_list(F.struct("linked_date", "user_id"))).alias("links")
    links = identities.groupBy(F.col("id").alias("linked_id")).agg(held)
    joined = events.join(links, F.col("user_id") == F.col("linked_id"), "left")
    known = F.filter("links", lambda link: link["linked_date"] <= F.col("event_date"))
    user = F.coalesce(F.try_element_at(known, F.lit(-1))["user_id"], F.col("user_id"))
    return joined.withColumn("user_id", user).select(events.columns)
