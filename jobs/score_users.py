"""Ranks every item for every user with the champion: the recommendations of a day."""

from pyspark.sql import functions as F

from nextaisle.changes import last_day_known
from nextaisle.contract.tables import ITEMS, RECOMMENDATIONS, SEQUENCES, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.scoring.recommendations import count_scored, inputs_of_scoring, score_users


def run(night: Night) -> Result:
    store = night.store
    day, variant = last_day_known(night), night.settings.scoring.variant
    rows = score_users(night.settings, store.read(SEQUENCES), store.read(SESSIONS), store.read(ITEMS), day)
    # The lists of other arms of an experiment stay.
    others = store.read(RECOMMENDATIONS).where((F.col("score_date") == F.lit(day)) & (F.col("variant") != variant))
    store.replace_days(RECOMMENDATIONS, others.unionByName(rows), day, day)
    return Result(count_scored(store.fresh().read(RECOMMENDATIONS), day, variant), days=(day, day))


JOB = Job(
    name="score_users",
    run=run,
    reads=(SEQUENCES, SESSIONS, ITEMS),
    writes=(RECOMMENDATIONS,),
    sections=("scoring", "users", "source", "sequences", "evaluation", "tracking"),
    inputs=inputs_of_scoring,
)

if __name__ == "__main__":
    main(JOB)
