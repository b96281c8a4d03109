"""What a night would do now, without doing it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from nextaisle.contract.errors import NextaisleError
from nextaisle.job import Job, Night, is_done

UP_TO_DATE = "nothing to do"
RUNS = "runs"


@dataclass(frozen=True)
class Step:
    """A job of the night, the days for which it would be called, and whether it would find anything to do, and why."""

    job: str
    first: date | None
    last: date | None
    action: str
    reason: str


def plan(night: Night, calls: Sequence[tuple[Job, date | None, date | None]]) -> list[Step]:
    """A step per call, in order. A job runs if its key is new, or if one before it may change what it reads.

    A job that writes no table makes what no table shows, logs or a model: where it runs, all after it do.
    """
    steps: list[Step] = []
    uncertain: set[str] = set()
    model_is_uncertain = False
    for job, first, last in calls:
        before = sorted({table.name for table in job.reads} & uncertain)
        if model_is_uncertain:
            reason = "a job before it runs"
        elif before:
            reason = f"{', '.join(before)} may change"
        else:
            reason = _new_key(job, replace(night, store=night.store.fresh(), first=first, last=last))
        steps.append(Step(job.name, first, last, RUNS if reason else UP_TO_DATE, reason))
        if reason:
            uncertain |= {table.name for table in job.writes}
            model_is_uncertain = model_is_uncertain or not job.writes
    return steps


def _new_key(job: Job, night: Night) -> str:
    try:
        return "" if is_done(job, night) else "no finished run had this code, configuration and input"
    except NextaisleError as error:
        # Such as: no model was trained yet.
        return str(error)
