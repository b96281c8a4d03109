"""From which day a table must be built anew, and of which sessions, as what it is made from has changed since."""

from datetime import date, timedelta
from typing import Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import EVENTS, SESSIONS, Table
from nextaisle.job import Night
from nextaisle.ledger import dated_tables_left, finished_runs, has_its_tables, newest_first, version_read
from nextaisle.storage.delta_log import Version
from nextaisle.storage.store import Store

# A session is at most 24 hours long, and a day at least 23.
_DAYS_SPANNED: Final = timedelta(days=2)
# Before any log, and after the calendar reform, before which Java and Python count days differently.
EVERYTHING: Final = date(1600, 1, 1)


def first_day_to_build(night: Night, job: str, source: Table) -> date:
    """The earliest day of `source` that was committed since `job` last read it, or the night's first day, if earlier.

    Or an earlier one on which a table that the job left is no longer as it left it: a run that was killed leaves no
    trace in job_runs, whatever its rules were, and neither does somebody who restores or deletes.
    EVERYTHING where no day was asked for, where nothing was built yet, where a table that the job made was taken away,
    where its configuration has changed (half a table by the old rule would be neither), or where Delta no longer knows
    what changed. Code that has changed is not looked at: ask for no day after a new release that builds otherwise.

    | night  | source changed since on | tables left changed on | answer     |
    |--------|-------------------------|------------------------|------------|
    | 5 to 5 | 5                       |                        | 5          |
    | 5 to 5 | 3, a late event; and 5  |                        | 3          |
    | 3 to 4 | nothing                 |                        | 3          |
    | 5 to 5 | 5                       | 2                      | 2          |
    | all    | whatever                |                        | EVERYTHING |
    """
    last = last_run(night, job, source)
    version = _version_of_these_rules(night, last, source)
    if night.first is None or last is None or version is None or not has_its_tables(last, night.store):
        return EVERYTHING
    changed = [night.store.first_changed_day(table, left) for table, left in dated_tables_left(last)]
    changed.append(night.store.first_changed_day(source, version))
    return max(EVERYTHING, min([night.first, *(day for day in changed if day)]))


def changed_sessions(sessions: DataFrame, first: date, zone: str) -> DataFrame:
    """The sessions with events on `first` or later; those that began before are whole."""
    if first == EVERYTHING:
        return sessions
    midnight = F.to_utc_timestamp(F.lit(first).cast("timestamp"), zone)
    is_near = F.col("session_date") >= F.lit(first - _DAYS_SPANNED)
    return sessions.where(is_near & (F.col("end_time") >= midnight))


def last_version_read(night: Night, job: str, source: Table) -> Version | None:
    """The version of `source` that the newest finished run of `job` read.

    None where its configuration has changed, or where another table stands there now.
    """
    return _version_of_these_rules(night, last_run(night, job, source), source)


def _version_of_these_rules(night: Night, run: Row | None, source: Table) -> Version | None:
    version = version_read(run, source) if run and run["rules_key"] == night.rules_key else None
    return version if version and night.store.knows(source, version) else None


def last_run(night: Night, job: str, source: Table) -> Row | None:
    """The row of job_runs of the latest run of `job` that read `source` and was done."""
    runs = finished_runs(night.store, job).where(F.col("versions_read")[source.name].isNotNull())
    return newest_first(runs).first()


def last_day_known(night: Night) -> date:
    """The night's last day: of examples, training, judgement and lists. Where none was asked for, `newest_day`.

    Raises:
        InputError: none was asked for, and there are no sessions to tell it from.
    """
    return night.last or newest_day(night.store, night.settings.source.time_zone)


def newest_day(store: Store, time_zone: str) -> date:
    """The day of the last event in table sessions.

    Raises:
        InputError: there is none.
    """
    day = last_day_of_events(store, time_zone)
    if day is None:
        raise InputError(
            "table sessions is empty: run clean_events and build_sessions; where they have run, no event of the logs "
            "was accepted, and rejected_events says why"
        )
    return day


def last_logged_day(night: Night) -> date:
    """`last_day_known`, or a later day of the logs of which there are events: a backfill comes after it.

    What is known of an item now was not known on the old days that a backfill builds.
    """
    day = last_day_known(night)
    later = night.store.read(EVENTS).where(F.col("event_date") >= F.lit(day))
    newest: date | None = later.agg(F.max("ingest_date").alias("day")).collect()[0]["day"]
    return max(day, newest or day)


def last_day_of_events(store: Store, time_zone: str) -> date | None:
    """The day, of the shop, of the last event in table sessions; None where there is none."""
    days = store.span(SESSIONS)
    if days is None:
        return None
    # A session is at most a day long, so it ends on the day of the newest or the day after.
    rows = store.read(SESSIONS).where(F.col("session_date") >= F.date_sub(F.lit(days[1]), 1))
    local = F.from_utc_timestamp(F.max("end_time"), time_zone).cast("date")
    day: date = rows.agg(local.alias("day")).collect()[0]["day"]
    return day
