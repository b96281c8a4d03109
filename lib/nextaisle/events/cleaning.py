"""Which records become events: identity, repetition, and the cap on one user's day.

Every record ends with one outcome: accepted, a reason, or duplicate.
"""

from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Events
from nextaisle.contract import reasons
from nextaisle.events.mapping import INGEST_DATE, MAPPED, REASON
from nextaisle.events.records import PATH, RECORD

OUTCOME: Final = "outcome"
ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"


def with_event_id(events: DataFrame, rules: Events, has_ids: bool) -> DataFrame:
    """Fills event_id where the log has none: a hash of the mapped fields, and an ordinal among identical records.

    Records are identical when every mapped field is. identical_records = "keep" counts them within a day of the logs:
    the second bottle of milk on a receipt stays, the same receipt delivered again tomorrow does not. "drop" gives
    all of them one id, so that one stays.
    """
    fields = [F.coalesce(F.col(name).cast("string"), F.lit("\u0000")) for name in MAPPED if name != "event_id"]
    # A log with ids may lack one here and there.
    hashed = events.withColumn("event_id", F.coalesce("event_id", F.md5(F.concat_ws("\u001f", *fields))))
    if has_ids or rules.identical_records == "drop":
        return hashed
    same = Window.partitionBy("event_id", INGEST_DATE).orderBy(PATH)
    ordinal = F.row_number().over(same)
    return hashed.withColumn(
        "event_id", F.when(ordinal == 1, F.col("event_id")).otherwise(F.concat_ws("-", "event_id", ordinal))
    )


def with_outcome(events: DataFrame, history: DataFrame | None, rules: Events) -> DataFrame:
    """Adds OUTCOME. Of several deliveries of one event the earliest day of the logs keeps it, whatever came first here.

    `history` holds event_id, event_date and ingest_date of what is stored already from other days of the logs.
    """
    same = Window.partitionBy("event_id", "event_date", F.col(REASON).isNull()).orderBy(INGEST_DATE, PATH, RECORD)
    repeated = F.row_number().over(same) > 1
    if history is not None:
        stored = history.groupBy("event_id", "event_date").agg(F.min(INGEST_DATE).alias("stored_date"))
        events = events.join(stored, ["event_id", "event_date"], "left")
        repeated = repeated | (F.coalesce(F.col("stored_date") < F.col(INGEST_DATE), F.lit(False)))
    refused = F.col(REASON).isNotNull()
    outcome = F.when(refused, F.col(REASON)).when(repeated, F.lit(DUPLICATE)).otherwise(F.lit(ACCEPTED))
    return events.withColumn(OUTCOME, outcome).drop("stored_date", REASON)


def with_cap(events: DataFrame, rules: Events) -> DataFrame:
    """Refuses what a user did on a day beyond the first max_per_user_day events, counted within a day of the logs.

    Only the few users over the cap are sorted, so that a bot's ten million events cost a sort and no memory.
    """
    user_day = ["user_id", "event_date", INGEST_DATE]
    accepted = events.where(F.col(OUTCOME) == ACCEPTED)
    counts = accepted.groupBy(*user_day).count().where(F.col("count") > rules.max_per_user_day)
    hot = [row.asDict() for row in counts.select(*user_day).collect()]
    if not hot:
        return events
    hot_days = events.sparkSession.createDataFrame(hot, counts.select(*user_day).schema)
    is_hot = events.join(F.broadcast(hot_days.withColumn("is_hot", F.lit(True))), user_day, "left")
    marked = is_hot.withColumn("is_hot", F.coalesce("is_hot", F.lit(False)) & (F.col(OUTCOME) == ACCEPTED))
    order = Window.partitionBy(*user_day).orderBy("event_time", "event_id")
    over = marked.where("is_hot").withColumn("place", F.row_number().over(order))
    capped = F.when(F.col("place") > rules.max_per_user_day, F.lit(reasons.OVER_THE_CAP)).otherwise(F.col(OUTCOME))
    return over.withColumn(OUTCOME, capped).drop("place").unionByName(marked.where("not is_hot")).drop("is_hot")
