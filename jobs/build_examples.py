"""Cuts users' histories into training windows, each event a target once, split into train, validation and test."""

from nextaisle.changes import last_day_known
from nextaisle.contract.tables import EXAMPLES, ITEMS, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.sequences import examples_of
from nextaisle.spark import parquet_row_groups

# Some thousand windows: what a reader of one rank decodes at a time.
ROW_GROUP_MEGABYTES = 4


def run(night: Night) -> Result:
    as_of = last_day_known(night)
    rows = examples_of(night.store.read(SESSIONS), night.store.read(ITEMS), as_of, night.settings)
    with parquet_row_groups(night.spark, ROW_GROUP_MEGABYTES):
        night.store.replace_days(EXAMPLES, rows, as_of, as_of)
    written = night.store.fresh().read(EXAMPLES).where(f"as_of_date = DATE'{as_of:%Y-%m-%d}'").groupBy("split").count()
    return Result({row["split"]: row["count"] for row in written.orderBy("split").collect()})


JOB = Job(
    name="build_examples",
    run=run,
    reads=(SESSIONS, ITEMS),
    writes=(EXAMPLES,),
    sections=("examples", "evaluation", "source"),
)

if __name__ == "__main__":
    main(JOB)
