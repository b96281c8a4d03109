"""Brings days of a shop's log out of a database, by JDBC, into files that clean_events reads and that are kept."""

from nextaisle.database import write_database_logs
from nextaisle.job import Job, Night, Result, main


def run(night: Night) -> Result:
    return Result(write_database_logs(night.spark, night.settings, night.first, night.last))


JOB = Job(name="fetch_database_logs", run=run, sections=("database", "source"))

if __name__ == "__main__":
    main(JOB)
