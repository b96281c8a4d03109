"""A whole night: fetch, clean, sessions, sequences, profiles, examples, train, evaluate, score, with checks.

Without --date: everything in the logs that no finished night has built, up to their last day, in one pass.
"""

from dataclasses import replace
from datetime import date

from jobs.build_examples import JOB as BUILD_EXAMPLES
from jobs.build_profiles import JOB as BUILD_PROFILES
from jobs.build_sequences import JOB as BUILD_SEQUENCES
from jobs.build_sessions import JOB as BUILD_SESSIONS
from jobs.check_tables import CHECK_DATA, CHECK_LISTS
from jobs.clean_events import JOB as CLEAN_EVENTS
from jobs.evaluate_model import JOB as EVALUATE_MODEL
from jobs.fetch_database_logs import JOB as FETCH_DATABASE_LOGS
from jobs.fetch_demo_logs import JOB as FETCH_DEMO_LOGS
from jobs.score_users import JOB as SCORE_USERS
from jobs.train_model import JOB as TRAIN_MODEL
from nextaisle.changes import newest_day
from nextaisle.config import Settings
from nextaisle.contract.errors import InputError, StepError
from nextaisle.events import days_in_logs, names_days, unread_days
from nextaisle.job import Job, Night, Outcome, Result, execute, main
from nextaisle.nights import days_to_build
from nextaisle.quality.complete_days import complete_days, mark, withdraw, writes_contents
from nextaisle.quality.plan import plan
from nextaisle.quality.states import Logs, table_states
from nextaisle.quality.status import show_status
from nextaisle.summary import show_summary

Days = tuple[date | None, date | None]
Call = tuple[Job, date | None, date | None]

DAYS = (CLEAN_EVENTS, BUILD_SESSIONS, BUILD_SEQUENCES, BUILD_PROFILES)
LAST_DAY = (TRAIN_MODEL, EVALUATE_MODEL, SCORE_USERS)


def run(night: Night) -> Result:
    outcomes = [_step(job, night, night.first, night.last) for job in _fetching(night.settings)]
    days = days_asked_for(night)
    outcomes += [_step(job, night, *days) for job in DAYS]
    last = days[1] or newest_day(night.store.fresh(), night.settings.source.time_zone)
    outcomes += [_step(job, night, *dates) for job, *dates in calls_of_last_day(night.settings, days, last)]
    mark(night.store.fresh(), days[0], last)
    show_summary(night.settings, night.store.fresh(), outcomes, last)
    rows = {f"{outcome.job}.{name}": count for outcome in outcomes for name, count in outcome.rows.items()}
    trained = next((outcome.tracking_run_id for outcome in outcomes if outcome.job == TRAIN_MODEL.name), "")
    return Result(rows, trained, days)


def plan_night(night: Night) -> Result:
    """Shows what `run` would do, and the state of the tables; writes nothing."""
    store, problem, calls, logged, unread = night.store, "", list[Call](), list[date](), list[date]()
    try:
        logged = days_in_logs(night.spark, night.settings.source)
        unread = unread_days(night.spark, night.settings.source, store)
        calls = _calls(night)
    except InputError as error:
        # What is fetched comes with its first night.
        problem = "" if _fetching(night.settings) else str(error)
        calls = [] if problem else _calls_of((night.first, night.last), night)
    states = table_states(night, (*DAYS, CHECK_DATA), (BUILD_EXAMPLES, *LAST_DAY), Logs.of(store, logged, unread))
    return show_status(states, complete_days(store), plan(night, calls), problem)


def calls_of_last_day(settings: Settings, days: Days, last: date | None) -> list[Call]:
    """What follows the jobs that build every day: for the last day alone, but for the checks of all that was built.

    They come before training: a bad day trains no model.
    """
    checks_data: list[Call] = [(CHECK_DATA, *days)] if settings.quality.in_nightly else []
    checks_lists: list[Call] = [(CHECK_LISTS, last, last)] if settings.quality.in_nightly else []
    return [(BUILD_EXAMPLES, last, last), *checks_data, *((job, last, last) for job in LAST_DAY), *checks_lists]


def days_asked_for(night: Night) -> Days:
    """The days asked for; else those that no night has built; None, None where source.path names no days."""
    source = night.settings.source
    if night.last or not names_days(source):
        return night.first, night.last
    return days_to_build(night.store, days_in_logs(night.spark, source), unread_days(night.spark, source, night.store))


def _fetching(settings: Settings) -> list[Job]:
    """What brings the logs, where no shop lays them down as files."""
    if settings.demo.is_source:
        return [FETCH_DEMO_LOGS]
    return [FETCH_DATABASE_LOGS] if settings.database.url else []


def _calls(night: Night) -> list[Call]:
    return _calls_of(days_asked_for(night), night)


def _calls_of(days: Days, night: Night) -> list[Call]:
    fetch: list[Call] = [(job, night.first, night.last) for job in _fetching(night.settings)]
    try:
        last = days[1] or newest_day(night.store, night.settings.source.time_zone)
    except InputError:
        last = None
    return [*fetch, *((job, *days) for job in DAYS), *calls_of_last_day(night.settings, days, last)]


def _step(job: Job, night: Night, first: date | None, last: date | None) -> Outcome:
    outcome = execute(_withdrawing(job), night.settings, night.spark, first, last)
    if outcome.exit_code:
        raise StepError(f"{job.name}: {outcome.reason}", outcome.exit_code)
    return outcome


def _withdrawing(job: Job) -> Job:
    """The job, which takes back the markers of its days before it writes what they vouch for.

    Where it finds that nothing has changed it does not run, and the markers stay.
    """

    def run(night: Night) -> Result:
        withdraw(night.store.fresh(), night.first, night.last)
        return job.run(night)

    return replace(job, run=run) if writes_contents(job.writes) else job


JOB = Job(name="nightly", run=run, plan=plan_night)

if __name__ == "__main__":
    main(JOB)
