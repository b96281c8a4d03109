"""A night's scoring: which model, which users, and what came of it."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Settings
from nextaisle.contract.as_of import histories_as_of
from nextaisle.job import Night
from nextaisle.mapped import fingerprint
from nextaisle.scoring.catalogue import read_catalogue
from nextaisle.scoring.champion import champion_version, load_champion
from nextaisle.scoring.histories import with_earlier_items
from nextaisle.scoring.recommending import POPULAR, recommend
from nextaisle.scoring.users import read_listed_users

_HISTORY = ("item_indices", "event_types", "is_session_start")


def score_users(
    settings: Settings, sequences: DataFrame, sessions: DataFrame, items: DataFrame, day: date
) -> DataFrame:
    """Rows of recommendations for `day`: every user with a history through it, and every user of [users].

    Raises:
        GateError: there is no champion, or it learned other items than the table holds.
    """
    champion = load_champion(settings.tracking, items)
    scoring, targets = settings.scoring, settings.evaluation.target_event_types
    zone = settings.source.time_zone
    catalogue = read_catalogue(items, sessions, day, zone, targets, scoring.not_for_sale)
    known = histories_as_of(sequences, day, _HISTORY, settings.sequences.max_events, zone)
    histories = with_earlier_items(known, sessions, items, scoring.exclude, day, zone)
    listed_users = read_listed_users(sequences.sparkSession, settings.users, zone)
    return recommend(histories, listed_users, catalogue, champion, scoring, day)


def count_scored(recommendations: DataFrame, day: date, variant: str) -> dict[str, int]:
    """Of one day and arm: users, recommendations, and popular_users: those whose list begins with what is popular."""
    first = F.col("rank") == 1
    counts = {
        "users": F.count_if(first),
        "recommendations": F.count("*"),
        "popular_users": F.count_if(first & (F.col("reason") == POPULAR)),
    }
    rows = recommendations.where((F.col("score_date") == F.lit(day)) & (F.col("variant") == variant))
    return rows.agg(*(column.alias(name) for name, column in counts.items())).collect()[0].asDict()


def inputs_of_scoring(night: Night) -> str:
    """What changes when another model becomes champion, or other users are listed."""
    version = champion_version(night.settings.tracking)
    users = fingerprint(read_listed_users(night.spark, night.settings.users, night.settings.source.time_zone))
    return f"run {version.run_id}, version {version.version}, users {users}"
