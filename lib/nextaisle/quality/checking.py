"""A run of check_tables: tables in; rows of data_profiles and data_quality, a run in MLflow and the gate out."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.identities import with_linked_users
from nextaisle.contract.tables import (
    DATA_PROFILES,
    DATA_QUALITY,
    EVENTS,
    IDENTITIES,
    SEQUENCES,
    TABLES,
    Table,
)
from nextaisle.job import Night, Result
from nextaisle.ledger import compacted_day
from nextaisle.quality.days import days_to_check
from nextaisle.quality.drift import GAP_DAYS, drift_outcomes, read_history
from nextaisle.quality.expectations import ERROR, WARNING, Severity, Suite
from nextaisle.quality.measuring import Measured, measure
from nextaisle.quality.outcomes import Outcome, counts, data_quality_rows, refuse_failures
from nextaisle.quality.profiles import PROFILES, Profile, profile_rows, profiles_of
from nextaisle.quality.report import log_report
from nextaisle.quality.suites import SUITES
from nextaisle.quality.suites.words import DAYS_SPANNED, HISTORIES, LINKED_EVENTS
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker

_OFF: Final = "off"


def check_tables(night: Night, tables: Sequence[Table], listed_users: DataFrame) -> Result:
    """Checks `tables`, writes what came of it, and then refuses what must not go on.

    `listed_users` may have recommendations without having a history.

    Raises:
        GateError: a check of severity error failed.
    """
    settings, store = night.settings, night.store
    rules = settings.quality
    _refuse_unknown_names(rules.severities)
    days = days_to_check(night, tables, rules.reference_days)
    if days is None:
        return Result()
    first, last = days
    suites = [_with_severities(suite, rules.severities) for suite in SUITES if suite.table in tables]
    profiles = profiles_of(tables)
    frames = _frames(store, suites, profiles, first, last) | {"listed_users": listed_users}
    profiles = [profile for profile in profiles if profile.reads <= set(frames)]
    values = _values(night, first, last)
    outcomes = measure(night.spark, suites, Measured(frames, values, rules.sample_rows))
    _replace(store, DATA_PROFILES, profile_rows(night.spark, profiles, frames, values), first, last, tables)
    history = read_history(_of(store.fresh().read(DATA_PROFILES), tables), first, last, rules.reference_days)
    outcomes += _overridden(drift_outcomes(profiles, history, first, last, rules), rules.severities)
    _replace(store, DATA_QUALITY, data_quality_rows(night.spark, outcomes), first, last, tables)
    run_id = log_report(Tracker(settings.tracking), outcomes, history, last)
    refuse_failures(outcomes)
    return Result(counts(outcomes, tables), run_id, days)


def _values(night: Night, first: date, last: date) -> dict[str, Any]:
    settings, zone = night.settings, night.settings.source.time_zone
    return {
        "first": first,
        "last": last,
        "time_zone": zone,
        "keeps_types": settings.events.unknown_types == "keep",
        "compacted_through": compacted_day(night.store) or EVERYTHING,
        "max_hours": settings.sessions.max_hours,
        "collapse_types": json.dumps(settings.sessions.collapse_types),
        "max_events": settings.sequences.max_events,
    }


def _frames(
    store: Store, suites: Sequence[Suite], profiles: Sequence[Profile], first: date, last: date
) -> dict[str, DataFrame]:
    """The tables that are there, those with days cut to the days that are checked and those that reach into them.

    `histories` are all rows of sequences through the last day: users who did nothing lately have recommendations too.
    """
    wanted = frozenset[str]().union(*(suite.reads for suite in suites), *(profile.reads for profile in profiles))
    frames, earliest = {}, first - timedelta(days=DAYS_SPANNED)
    for table in TABLES.values():
        if table.name in wanted and store.exists(table):
            frames[table.name] = _within(store.read(table), table, earliest, last)
    if LINKED_EVENTS in wanted and store.exists(EVENTS):
        events = _within(store.read(EVENTS), EVENTS, earliest, last)
        has_links = store.exists(IDENTITIES)
        frames[LINKED_EVENTS] = with_linked_users(events, store.read(IDENTITIES)) if has_links else events
    if HISTORIES in wanted and store.exists(SEQUENCES):
        frames[HISTORIES] = store.read(SEQUENCES).where(F.col("as_of_date") <= F.lit(last))
    return frames


def _within(rows: DataFrame, table: Table, first: date, last: date) -> DataFrame:
    if table.day is None:
        return rows
    return rows.where(F.col(table.day).between(F.lit(first), F.lit(last)))


def _replace(store: Store, table: Table, rows: DataFrame, first: date, last: date, checked: Sequence[Table]) -> None:
    """Writes the days first to last, and passes on what they hold of tables that were not checked now."""
    kept = _within(store.read(table), table, first, last).where(~_is_of(checked))
    store.replace_days(table, kept.unionByName(rows), first, last)


def _of(rows: DataFrame, tables: Iterable[Table]) -> DataFrame:
    return rows.where(_is_of(tables))


def _is_of(tables: Iterable[Table]) -> Column:
    return F.col("table_name").isin([table.name for table in tables])


def _with_severities(suite: Suite, severities: Mapping[str, str]) -> Suite:
    """The suite with what the configuration says of its failures, and without what it turns off."""
    words = [(each, severities.get(f"{suite.table.name}.{each.name}", each.severity)) for each in suite.expectations]
    kept = tuple(replace(each, severity=_severity(word)) for each, word in words if word != _OFF)
    return replace(suite, expectations=kept)


def _overridden(outcomes: Sequence[Outcome], severities: Mapping[str, str]) -> list[Outcome]:
    words = [(each, severities.get(f"{each.table}.{each.check}", each.severity)) for each in outcomes]
    return [replace(each, severity=_severity(word)) for each, word in words if word != _OFF]


def _severity(word: str) -> Severity:
    return ERROR if word == ERROR else WARNING


def _refuse_unknown_names(severities: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigurationError: names a check that there is not, and the nearest that there is.
    """
    known = {f"{suite.table.name}.{expectation.name}" for suite in SUITES for expectation in suite.expectations}
    known |= {f"{profile.table.name}.{check}" for profile in PROFILES for check in profile.checks} | {GAP_DAYS}
    for name in severities:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
            raise ConfigurationError(f"[quality.severities] there is no check {name!r}; the nearest is {near!r}")
