"""Which ids are one user, as the configuration maps it, and whose sessions a change of that concerns."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Identities, Sessions
from nextaisle.contract.errors import GateError
from nextaisle.contract.identities import LINK, with_linked_users
from nextaisle.contract.tables import IDENTITIES
from nextaisle.mapped import SINCE_EVER, read_mapped
from nextaisle.sessions.rebuilding import Rebuilt, rebuild_in_part, rebuild_sessions


@dataclass(frozen=True)
class Links:
    """Rows of identities: those of now, and those that the stored sessions were made with."""

    now: DataFrame
    before: DataFrame


def read_links(spark: SparkSession, source: Identities, zone: str) -> DataFrame:
    """Rows of the table identities. Of several users of one id on one day the smallest counts."""
    types = {column.name: column.type for column in IDENTITIES.columns}
    links = read_mapped(spark, source, "identities", types, ("id", "user_id"), zone)
    since = F.coalesce("linked_date", F.lit(SINCE_EVER)).alias("linked_date")
    return links.groupBy("id", since).agg(F.min("user_id").alias("user_id")).select(*LINK)


def refuse_lost(links: Links, max_share: float) -> None:
    """
    Raises:
        GateError: more than `max_share` of the ids that were linked are so no longer, as after an export that failed.
    """
    still = links.now.select("id", F.lit(True).alias("is_linked")).distinct()
    counts = (F.count("*").alias("known"), F.count_if(F.col("is_linked").isNull()).alias("lost"))
    row = links.before.select("id").distinct().join(still, "id", "left").agg(*counts).collect()[0]
    if row["lost"] > max_share * row["known"]:
        raise GateError(
            f"{row['lost']} of the {row['known']} ids that were linked are gone from [identities], more than "
            f"max_lost_share = {max_share:g}; their users would fall apart. Is the export whole? If they are to go, "
            "set identities.max_lost_share=1 for this night"
        )


def rebuild_linked_sessions(
    events: DataFrame, sessions: DataFrame, links: Links, first: date, rules: Sessions, zone: str
) -> Rebuilt:
    """The sessions, by linked users, that depend on events of `first` and later, or on links that changed.

    Where a link came, went or changed, its users are built anew from the first day of which it tells an event.
    """
    linked = with_linked_users(events, links.now)
    changed = _changed_ids(links)
    since = _first_event(events.where(F.col("event_date") < F.lit(first)), changed)
    if since is None:
        return rebuild_sessions(linked, sessions, first, rules, zone)
    return rebuild_in_part(linked, sessions, _concerned(links, changed), since, first, rules, zone)


def _changed_ids(links: Links) -> DataFrame:
    """(id, since): ids of which a link came, went or changed, and the first day that it may tell of."""
    both = links.now.exceptAll(links.before).unionByName(links.before.exceptAll(links.now))
    return both.groupBy("id").agg(F.min("linked_date").alias("since"))


def _first_event(events: DataFrame, changed: DataFrame) -> date | None:
    """The first day, from its link on, of an event of a changed id."""
    theirs = events.join(changed, (F.col("user_id") == F.col("id")) & (F.col("event_date") >= F.col("since")))
    day: date | None = theirs.agg(F.min("event_date").alias("day")).collect()[0]["day"]
    return day


def _concerned(links: Links, changed: DataFrame) -> DataFrame:
    """user_id of everyone who gains or loses events: the changed ids, and all users that they are or were linked to."""
    linked = links.now.unionByName(links.before).join(changed, "id", "left_semi").select("user_id")
    return linked.unionByName(changed.select(F.col("id").alias("user_id"))).distinct()
