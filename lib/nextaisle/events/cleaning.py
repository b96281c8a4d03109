"""Which records become events: identity, repetition, bots, and the cap on one user's day.

Every record ends with one outcome: accepted, a reason, or duplicate.
"""

from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Events, Settings
from nextaisle.contract import reasons
from nextaisle.events.bots import RULE, USER_DAY, Keep, bot_days
from nextaisle.events.mapping import INGEST_DATE, MAPPED, REASON
from nextaisle.events.records import PATH, RECORD

OUTCOME: Final = "outcome"
ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
# Whether a later day of the logs has the event now, which must give it up.
TAKES_OVER: Final = "takes_over"
_HASH_LENGTH: Final = 32


def with_event_id(events: DataFrame, rules: Events, has_ids: bool, stored: DataFrame | None = None) -> DataFrame:
    """Fills event_id where the log has none: a hash of the mapped fields, and an ordinal among identical records.

    Records are identical when every mapped field is. identical_records = "keep" counts them within a day of the logs:
    the second bottle of milk on a receipt stays, the same receipt delivered again tomorrow does not. "drop" gives
    all of them one id, so that one stays. Where `stored` has events of the same days of the logs, counting goes on.

    | stored    | identical records | event_id      |
    |-----------|-------------------|---------------|
    | none      | 3                 | h, h-2, h-3   |
    | h, h-2    | 1                 | h-3           |
    """
    # A field that is unknown has no part in it, so that ids stay when the table gains a column.
    fields = [F.concat(F.lit(f"{name}="), F.col(name).cast("string")) for name in MAPPED if name != "event_id"]
    # A log with ids may lack one here and there.
    hashed = events.withColumn("event_id", F.coalesce("event_id", F.md5(F.concat_ws("\u001f", *fields))))
    if has_ids or rules.identical_records == "drop":
        return hashed
    same = Window.partitionBy("event_id", INGEST_DATE).orderBy(PATH)
    ordinal = F.row_number().over(same)
    if stored is not None:
        hashed = hashed.join(_ordinals(stored), ["event_id", INGEST_DATE], "left")
        ordinal = ordinal + F.coalesce("stored_ordinal", F.lit(0))
    numbered = F.when(ordinal == 1, F.col("event_id")).otherwise(F.concat_ws("-", "event_id", ordinal))
    return hashed.withColumn("event_id", numbered).drop("stored_ordinal")


def _ordinals(stored: DataFrame) -> DataFrame:
    """(event_id, ingest_date, stored_ordinal): how many identical records became events, by the id of the first."""
    first = F.left("event_id", F.lit(_HASH_LENGTH)).alias("event_id")
    ordinal = F.coalesce(F.substr("event_id", F.lit(_HASH_LENGTH + 2)).try_cast("int"), F.lit(1))
    return stored.groupBy(first, INGEST_DATE).agg(F.max(ordinal).alias("stored_ordinal"))


def with_outcome(events: DataFrame, history: DataFrame) -> DataFrame:
    """Adds OUTCOME. Of several deliveries of one event the earliest day of the logs keeps it, whatever came first here.

    `history` holds event_id, event_date and ingest_date of what is stored already and stays.
    """
    same = Window.partitionBy("event_id", "event_date", F.col(REASON).isNull()).orderBy(INGEST_DATE, PATH, RECORD)
    stored = history.groupBy("event_id", "event_date").agg(F.min(INGEST_DATE).alias("stored_date"))
    events = events.join(stored, ["event_id", "event_date"], "left")
    was_there = F.coalesce(F.col("stored_date") <= F.col(INGEST_DATE), F.lit(False))
    repeated = (F.row_number().over(same) > 1) | was_there
    refused = F.col(REASON).isNotNull()
    outcome = F.when(refused, F.col(REASON)).when(repeated, F.lit(DUPLICATE)).otherwise(F.lit(ACCEPTED))
    judged = events.withColumn(OUTCOME, outcome)
    takes_over = (F.col(OUTCOME) == ACCEPTED) & F.col("stored_date").isNotNull()
    return judged.withColumn(TAKES_OVER, takes_over).drop("stored_date", REASON)


def with_verdicts(events: DataFrame, settings: Settings, keep: Keep) -> DataFrame:
    """OUTCOME of what is accepted, and RULE, by the whole days of its users: first bots, then the cap.

    `events` holds whole days of users. Bots come first, so that a bot's day is set apart whole, not cut.
    """
    return _with_cap(_with_bots(events, settings, keep), settings.events, keep)


def _with_bots(events: DataFrame, settings: Settings, keep: Keep) -> DataFrame:
    is_accepted = F.col(OUTCOME) == ACCEPTED
    found = keep(bot_days(events.where(is_accepted), settings.bots, keep))
    if found.isEmpty():
        return events.withColumn(RULE, F.lit(None).cast("string"))
    judged = events.join(F.broadcast(found), list(USER_DAY), "left")
    is_bot = is_accepted & F.col(RULE).isNotNull()
    return judged.withColumns(
        {OUTCOME: F.when(is_bot, F.lit(reasons.BOT)).otherwise(F.col(OUTCOME)), RULE: F.when(is_bot, F.col(RULE))}
    )


def _with_cap(events: DataFrame, rules: Events, keep: Keep) -> DataFrame:
    """Refuses what a user did on a day beyond the first max_per_user_day events, counted within a day of the logs.

    Only the few users over the cap are sorted, so that ten million events cost a sort and no memory.
    """
    user_day = [*USER_DAY, INGEST_DATE]
    accepted = events.where(F.col(OUTCOME) == ACCEPTED)
    counts = accepted.groupBy(*user_day).count().where(F.col("count") > rules.max_per_user_day)
    hot = keep(counts.select(*user_day))
    if hot.isEmpty():
        return events
    is_hot = events.join(F.broadcast(hot.withColumn("is_hot", F.lit(True))), user_day, "left")
    marked = is_hot.withColumn("is_hot", F.coalesce("is_hot", F.lit(False)) & (F.col(OUTCOME) == ACCEPTED))
    order = Window.partitionBy(*user_day).orderBy("event_time", "event_id")
    over = marked.where("is_hot").withColumn("place", F.row_number().over(order))
    capped = F.when(F.col("place") > rules.max_per_user_day, F.lit(reasons.OVER_THE_CAP)).otherwise(F.col(OUTCOME))
    return over.withColumn(OUTCOME, capped).drop("place").unionByName(marked.where("not is_hot")).drop("is_hot")
