"""A whole night: fetch (demo only), clean, sessions, sequences, profiles, examples, train, evaluate, score; summary.

Without --date: everything in the logs that no finished night has built, up to their last day, in one pass.
"""

from datetime import date

from jobs.build_examples import JOB as BUILD_EXAMPLES
from jobs.build_profiles import JOB as BUILD_PROFILES
from jobs.build_sequences import JOB as BUILD_SEQUENCES
from jobs.build_sessions import JOB as BUILD_SESSIONS
from jobs.clean_events import JOB as CLEAN_EVENTS
from jobs.evaluate_model import JOB as EVALUATE_MODEL
from jobs.fetch_demo_logs import JOB as FETCH_DEMO_LOGS
from jobs.score_users import JOB as SCORE_USERS
from jobs.train_model import JOB as TRAIN_MODEL
from nextaisle.contract.errors import StepError
from nextaisle.events import days_in_logs, unread_days
from nextaisle.job import Job, Night, Outcome, Result, execute, main
from nextaisle.nights import days_to_build, last_built_day
from nextaisle.summary import show_summary

DAYS = (CLEAN_EVENTS, BUILD_SESSIONS, BUILD_SEQUENCES, BUILD_PROFILES)
LAST_DAY = (BUILD_EXAMPLES, TRAIN_MODEL, EVALUATE_MODEL, SCORE_USERS)


def run(night: Night) -> Result:
    outcomes = []
    if night.settings.demo.is_source:
        outcomes.append(_step(FETCH_DEMO_LOGS, night, night.first, night.last))
    first, last = days_of(night)
    outcomes += [_step(job, night, first, last) for job in DAYS]
    last = last or last_built_day(night.store.fresh())
    outcomes += [_step(job, night, last, last) for job in LAST_DAY]
    show_summary(night.settings, night.store.fresh(), outcomes, last)
    rows = {f"{outcome.job}.{name}": count for outcome in outcomes for name, count in outcome.rows.items()}
    return Result(rows, outcomes[-1].tracking_run_id, (first, last))


def days_of(night: Night) -> tuple[date | None, date | None]:
    """The days asked for; else those that no night has built; None, None where the logs have no folder per day."""
    if night.last:
        return night.first, night.last
    source = night.settings.source
    return days_to_build(night.store, days_in_logs(night.spark, source), unread_days(night.spark, source, night.store))


def _step(job: Job, night: Night, first: date | None, last: date | None) -> Outcome:
    outcome = execute(job, night.settings, night.spark, first, last)
    if outcome.exit_code:
        raise StepError(f"{job.name}: {outcome.reason}", outcome.exit_code)
    return outcome


JOB = Job(name="nightly", run=run)

if __name__ == "__main__":
    main(JOB)
