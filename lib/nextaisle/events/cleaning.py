"""Which records become events: identity, repetition, bots, and the cap on one user's day.

Every record ends with one outcome: accepted, a reason, or duplicate.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import Events, Settings
from nextaisle.contract import reasons
from nextaisle.events.bots import JUDGED_BY, RULE, USER_DAY, bot_days, least_events
from nextaisle.events.mapping import INGEST_DATE, MAPPED, ORDER, REASON
from nextaisle.events.records import OURS, PATH
from nextaisle.events.sums import KEY, tallied, tally
from nextaisle.spark import mapping_rules, staged

# What is counted by its hash.
_IDS: Final = "ids"
_USER_DAYS: Final = "user_days"

OUTCOME: Final = "outcome"
ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
# Whether a repetition says something else than the event whose id it has.
CONFLICTS: Final = "conflicts"
# Whether a later day of the logs has the event now, which must give it up.
TAKES_OVER: Final = "takes_over"
# What is part of an event whatever delivers it, and when.
_SAME_EVENT: Final = ("user_id", "event_type", "item_id")
_HASH_LENGTH: Final = 32
_HASH: Final = f"{OURS}_hash"
# Any two numbers that differ: each half of an id begins with one.
_SEEDS: Final = (1, 2)
# Hashes, or days of users, that a broadcast carries with ease.
_FEW: Final = 200_000


def tally_of_new(events: DataFrame) -> DataFrame:
    """How often each id and each user's day comes among the records that fit, computed once."""
    is_fit = F.col(REASON).isNull()
    keys = {_IDS: F.xxhash64("event_id"), _USER_DAYS: F.xxhash64(*USER_DAY)}
    return staged(tally(events, {name: F.when(is_fit, key) for name, key in keys.items()}), "bucket")


def tally_of_stored(events: DataFrame) -> DataFrame:
    """How often each user's day comes."""
    return tally(events, {_USER_DAYS: F.xxhash64(*USER_DAY)})


def with_identity(
    events: DataFrame,
    new: DataFrame,
    history: DataFrame,
    rules: Events,
    has_ids: bool,
    counted: DataFrame | None = None,
) -> DataFrame:
    """Adds OUTCOME, TAKES_OVER and CONFLICTS: what is there already is a duplicate. Identical records get ids apart.

    `new` is `tally_of_new`; `history` holds event_id, event_date and ingest_date of what is stored already and
    stays; `counted` those of its events that identical records are counted on from. `events` are read several times.

    Records are numbered and compared only where a hash says that there may be something to compare them with: most
    are alone, and pass without a sort.
    """
    named = events.withColumn(_HASH, F.xxhash64("event_id"))
    repeated = staged(_repeated(new, history, has_ids), _HASH)
    count = repeated.count()
    if not count:
        return _alone(named)
    flagged = repeated.withColumn("is_repeated", F.lit(True))
    joined = named.join(F.broadcast(flagged) if count <= _FEW else flagged, _HASH, "left")
    joined = joined if count <= _FEW else staged(joined, by_user())
    is_doubtful = F.col("is_repeated").isNotNull() & F.col(REASON).isNull()
    doubtful = joined.where(is_doubtful)
    numbered = doubtful if rules.identical_records == "drop" else _numbered(doubtful, counted)
    compared = staged(_with_outcome(numbered, history).drop("is_repeated", _HASH), by_user()).drop(ORDER)
    return _alone(joined.where(~is_doubtful)).select(compared.columns).unionByName(compared)


def by_user() -> Column:
    """What records are laid out by: a hash of the user, or of the record where it names none."""
    return F.when(F.col("user_id").isNotNull(), F.xxhash64("user_id")).otherwise(F.col(ORDER))


def _alone(events: DataFrame) -> DataFrame:
    outcome = F.coalesce(REASON, F.lit(ACCEPTED))
    nothing = F.lit(False)
    return events.withColumns({OUTCOME: outcome, TAKES_OVER: nothing, CONFLICTS: nothing}).drop(_HASH, REASON, ORDER)


def with_event_id(events: DataFrame) -> DataFrame:
    """Fills event_id, where the log has none, with 128 bits of xxHash over the mapped fields.

    Fields that are unknown have no part in it but their places, so that ids stay when the table gains a column.
    """
    with mapping_rules(events.sparkSession):
        return events.withColumn("event_id", F.coalesce("event_id", _hash_of_fields()))


def _hash_of_fields() -> Column:
    fields = [name for name in MAPPED if name != "event_id"]
    known = [
        F.when(F.col(name).isNotNull(), F.lit(1 << place)).otherwise(F.lit(0)) for place, name in enumerate(fields)
    ]
    halves = [F.xxhash64(F.lit(seed), reduce(Column.__add__, known), *fields) for seed in _SEEDS]
    # The bytes of a number, which are there outside ANSI alone: to fill hex digits up with zeros takes twice as long.
    return F.lower(F.hex(F.concat(*(half.cast("binary") for half in halves))))


def _repeated(new: DataFrame, history: DataFrame, has_ids: bool) -> DataFrame:
    """Hashes of ids that several records that fit have, or a record and something in `history`."""
    base = F.col("event_id") if has_ids else F.left("event_id", F.lit(_HASH_LENGTH))
    old = tally(history, {_IDS: F.xxhash64(base)})
    found = tallied(_IDS, [new, old], lambda times, before: (times > 0) & (times + before > 1))
    return found.select(F.col(KEY).alias(_HASH))


def _numbered(events: DataFrame, counted: DataFrame | None) -> DataFrame:
    """Identical records of a day of the logs, told apart by an ordinal; not those to which the log gave an id.

    Records are identical when every mapped field is. identical_records = "keep" counts them within a day of the logs:
    the second bottle of milk on a receipt stays, the same receipt delivered again tomorrow does not. "drop" gives
    all of them one id, so that one stays. Where `counted` has events of the same days of the logs, counting goes on.

    | counted   | identical records | event_id      |
    |-----------|-------------------|---------------|
    | none      | 3                 | h, h-2, h-3   |
    | h, h-2    | 1                 | h-3           |
    """
    same = Window.partitionBy("event_id", INGEST_DATE).orderBy(PATH)
    ordinal = F.row_number().over(same)
    if counted is not None:
        events = events.join(_ordinals(counted), ["event_id", INGEST_DATE], "left")
        ordinal = ordinal + F.coalesce("stored_ordinal", F.lit(0))
    is_numbered = (ordinal > 1) & (F.col("event_id") == _hash_of_fields())
    numbered = F.when(is_numbered, F.concat_ws("-", "event_id", ordinal)).otherwise(F.col("event_id"))
    with mapping_rules(events.sparkSession):
        return events.withColumn("event_id", numbered).drop("stored_ordinal")


def _ordinals(counted: DataFrame) -> DataFrame:
    """(event_id, ingest_date, stored_ordinal): how many identical records became events, by the id of the first."""
    first = F.left("event_id", F.lit(_HASH_LENGTH)).alias("event_id")
    ordinal = F.coalesce(F.substr("event_id", F.lit(_HASH_LENGTH + 2)).try_cast("int"), F.lit(1))
    return counted.groupBy(first, INGEST_DATE).agg(F.max(ordinal).alias("stored_ordinal"))


def _with_outcome(events: DataFrame, history: DataFrame) -> DataFrame:
    """Of several deliveries of one event the earliest day of the logs keeps it, whatever came first here."""
    same = Window.partitionBy("event_id", "event_date").orderBy(INGEST_DATE, PATH, ORDER)
    stored = history.groupBy("event_id", "event_date").agg(F.min(INGEST_DATE).alias("stored_date"))
    events = events.join(stored, ["event_id", "event_date"], "left")
    was_there = F.coalesce(F.col("stored_date") <= F.col(INGEST_DATE), F.lit(False))
    repeated = (F.row_number().over(same) > 1) | was_there
    said = F.struct(*_SAME_EVENT)
    conflicts = ~said.eqNullSafe(F.first(said).over(same))
    outcome = F.when(repeated, F.lit(DUPLICATE)).otherwise(F.lit(ACCEPTED))
    judged = events.withColumns({OUTCOME: outcome, CONFLICTS: conflicts})
    takes_over = (F.col(OUTCOME) == ACCEPTED) & F.col("stored_date").isNotNull()
    return judged.withColumn(TAKES_OVER, takes_over).drop("stored_date", REASON)


def with_verdicts(events: DataFrame, tallies: Sequence[DataFrame], settings: Settings) -> DataFrame:
    """OUTCOME of what is accepted, and RULE, by the whole days of its users: first bots, then the cap.

    `events` holds whole days of users, and no rule yet; `tallies` of both kinds count these days' events, and may
    count more. Bots come first, so that a bot's day is set apart whole, not cut. Only days that are long enough for
    either are looked at; where nobody is refused, `events` itself comes back.
    """
    least, most = least_events(settings.bots), settings.events.max_per_user_day
    longer = min(most, most if least is None else least)
    long = staged(tallied(_USER_DAYS, tallies, lambda *times: sum(times) > longer), KEY)
    count = long.count()
    if not count:
        return events
    accepted = events.where(F.col(OUTCOME) == ACCEPTED)
    hashed = accepted.withColumn(KEY, F.xxhash64(*USER_DAY))
    hashed = hashed.join(F.broadcast(long) if count <= _FEW else long, KEY, "left_semi").select(*JUDGED_BY)
    # By time too, as one user may have done most of it.
    acts = staged(hashed, F.xxhash64(*USER_DAY, "event_time"))
    busy = staged(acts.groupBy(*USER_DAY).count().where(F.col("count") > longer))
    longest = busy.agg(F.count("*").alias("days"), F.max("count").alias("count")).collect()[0]
    if not longest["days"]:
        return events
    judged = events
    if least is not None:
        days = busy.select(*USER_DAY)
        days = F.broadcast(days) if longest["days"] <= _FEW else days
        found = staged(bot_days(acts.join(days, list(USER_DAY), "left_semi"), settings.bots))
        judged = events if found.isEmpty() else _with_bots(events, found)
    return _with_cap(judged, settings.events) if longest["count"] > most else judged


def _with_bots(events: DataFrame, found: DataFrame) -> DataFrame:
    is_accepted = F.col(OUTCOME) == ACCEPTED
    judged = events.drop(RULE).join(F.broadcast(found), list(USER_DAY), "left")
    is_bot = is_accepted & F.col(RULE).isNotNull()
    return judged.withColumns(
        {OUTCOME: F.when(is_bot, F.lit(reasons.BOT)).otherwise(F.col(OUTCOME)), RULE: F.when(is_bot, F.col(RULE))}
    )


def _with_cap(events: DataFrame, rules: Events) -> DataFrame:
    """Refuses what a user did on a day beyond the first max_per_user_day events, counted within a day of the logs.

    Only the few users over the cap are sorted, so that ten million events cost a sort and no memory.
    """
    user_day = [*USER_DAY, INGEST_DATE]
    accepted = events.where(F.col(OUTCOME) == ACCEPTED)
    counts = accepted.groupBy(*user_day).count().where(F.col("count") > rules.max_per_user_day)
    hot = staged(counts.select(*user_day))
    if hot.isEmpty():
        return events
    is_hot = events.join(F.broadcast(hot.withColumn("is_hot", F.lit(True))), user_day, "left")
    marked = is_hot.withColumn("is_hot", F.coalesce("is_hot", F.lit(False)) & (F.col(OUTCOME) == ACCEPTED))
    order = Window.partitionBy(*user_day).orderBy("event_time", "event_id")
    over = marked.where("is_hot").withColumn("place", F.row_number().over(order))
    capped = F.when(F.col("place") > rules.max_per_user_day, F.lit(reasons.OVER_THE_CAP)).otherwise(F.col(OUTCOME))
    return over.withColumn(OUTCOME, capped).drop("place").unionByName(marked.where("not is_hot")).drop("is_hot")
