"""Trains the configured model on the examples of a night, and records the run in MLflow.

Reads examples and items; the weights go to training.checkpoints and, as a registered version, to MLflow.
"""

from nextaisle.contract.tables import EXAMPLES, ITEMS
from nextaisle.job import Job, Night, Result, main
from nextaisle.training.data import read_training_data
from nextaisle.training.run import train_run


def run(night: Night) -> Result:
    data = read_training_data(night.store, night.settings, night.last)
    tags = {"first_date": str(night.first or ""), "last_date": str(night.last or "")}
    trained = train_run(night.settings, data, tags)
    return Result(trained.rows, trained.run_id, (data.as_of, data.as_of))


JOB = Job(
    name="train_model",
    run=run,
    reads=(EXAMPLES, ITEMS),
    sections=("examples", "model", "training", "evaluation", "tracking"),
)

if __name__ == "__main__":
    main(JOB)
