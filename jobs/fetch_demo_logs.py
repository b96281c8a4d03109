"""Writes a real grocer's year of purchases as raw logs, a folder per day, for a first look."""

from nextaisle.demo import write_demo_logs
from nextaisle.job import Job, Night, Result, main


def run(night: Night) -> Result:
    return Result(write_demo_logs(night.settings, night.first, night.last))


JOB = Job(name="fetch_demo_logs", run=run, sections=("demo", "source", "items"))

if __name__ == "__main__":
    main(JOB)
