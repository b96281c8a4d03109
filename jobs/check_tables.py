"""Checks that tables hold what they promise, and how far a day has drifted from the weeks before (data_quality)."""

from collections.abc import Callable
from dataclasses import replace

from pyspark.sql import DataFrame

from nextaisle.contract.tables import (
    DATA_PROFILES,
    DATA_QUALITY,
    EVALUATIONS,
    EVENTS,
    EXAMPLES,
    IDENTITIES,
    ITEMS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    SEQUENCES,
    SESSIONS,
    SOURCE_FILES,
    USERS,
    Table,
)
from nextaisle.job import Job, Night, Result, main
from nextaisle.mapped import fingerprint
from nextaisle.quality.checking import check_tables
from nextaisle.scoring.users import read_listed_users

DATA = (SOURCE_FILES, REJECTED_EVENTS, EVENTS, IDENTITIES, SESSIONS, SEQUENCES, ITEMS, USERS, EXAMPLES)
LISTS = (RECOMMENDATIONS, EVALUATIONS)


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
