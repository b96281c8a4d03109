"""Shows what is built, missing and stale of each table, and what nightly would do now; writes nothing."""

from jobs.nightly import plan_night
from nextaisle.job import Job, main

JOB = Job(name="status", run=plan_night, is_recorded=False)

if __name__ == "__main__":
    main(JOB)
