"""Judges the night's model beside the champion and the baselines, and settles which of the two is champion.

Reads sessions and items; writes evaluation_cases, evaluations, and MLflow.
"""

from nextaisle.changes import last_day_known
from nextaisle.contract.tables import EVALUATION_CASES, EVALUATIONS, ITEMS, SESSIONS
from nextaisle.evaluation.night import evaluate_night, trained_run
from nextaisle.evaluation.promotion import find_rival
from nextaisle.job import Job, Night, Result, main
from nextaisle.tracking import Tracker


def run(night: Night) -> Result:
    rows, run_id = evaluate_night(night.settings, night.store, last_day_known(night))
    return Result(rows, run_id)


def contestants(night: Night) -> str:
    """The run that is judged and the one it is judged against: beside the tables, all that the result depends on."""
    run_id = trained_run(night.store, last_day_known(night))
    return f"{run_id} {find_rival(Tracker(night.settings.tracking), run_id)}"


JOB = Job(
    name="evaluate_model",
    run=run,
    reads=(SESSIONS, ITEMS),
    writes=(EVALUATION_CASES, EVALUATIONS),
    sections=("source", "evaluation", "promotion", "tracking"),
    inputs=contestants,
)

if __name__ == "__main__":
    main(JOB)
