"""Checks that tables hold what they promise, and how far a day has drifted from the weeks before (data_quality)."""

from collections.abc import Callable
from dataclasses import replace

from pyspark.sql import DataFrame

from nextaisle.contract.tables import (
    CATEGORY_PRICES,
    DATA_PROFILES,
    DATA_QUALITY,
    EVALUATION_CASES,
    EVALUATIONS,
    EVENTS,
    EXAMPLES,
    IDENTITIES,
    ITEM_GRAPH,
    ITEMS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    SEQUENCES,
    SESSIONS,
    SOURCE_FILES,
    USER_PROFILES,
    USERS,
    Table,
)
from nextaisle.job import Job, Night, Result, main
from nextaisle.mapped import fingerprint
from nextaisle.quality.checking import check_tables
from nextaisle.scoring.users import read_listed_users

LOGS = (SOURCE_FILES, REJECTED_EVENTS, EVENTS)
HISTORIES = (IDENTITIES, SESSIONS, SEQUENCES, ITEMS, USERS, USER_PROFILES, CATEGORY_PRICES, ITEM_GRAPH)
DATA = (*LOGS, *HISTORIES, EXAMPLES)
LISTS = (RECOMMENDATIONS, EVALUATIONS, EVALUATION_CASES)


def check(tables: tuple[Table, ...]) -> Callable[[Night], Result]:
    return lambda night: check_tables(night, tables, listed_users(night))


def listed_users(night: Night) -> DataFrame:
    return read_listed_users(night.spark, night.settings.users, night.settings.source.time_zone)


def listed(night: Night) -> str:
    return fingerprint(listed_users(night))


JOB = Job(
    name="check_tables",
    run=check((*DATA, *LISTS)),
    reads=(*DATA, *LISTS),
    writes=(DATA_QUALITY, DATA_PROFILES),
    sections=("quality", "source", "events", "sessions", "sequences", "users"),
    inputs=listed,
    adds_beside=True,
)
# A night's two halves: a bad day trains no model, and lists are looked at when they are there.
CHECK_DATA = replace(JOB, run=check(DATA), reads=DATA, inputs=None)
CHECK_LISTS = replace(JOB, run=check(LISTS), reads=(*LISTS, SEQUENCES, ITEMS))

if __name__ == "__main__":
    main(JOB)
