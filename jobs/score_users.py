"""Ranks every item for every user with the champion: the recommendations of a day."""

from nextaisle.contract.tables import ITEMS, RECOMMENDATIONS, SEQUENCES, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.scoring.recommendations import count_scored, inputs_of_scoring, score_users, scored_day


def run(night: Night) -> Result:
    store = night.store
    sequences = store.read(SEQUENCES)
    day = scored_day(night.last, sequences)
    rows = score_users(night.settings, sequences, store.read(SESSIONS), store.read(ITEMS), day)
    store.replace_days(RECOMMENDATIONS, rows, day, day)
    return Result(count_scored(store.fresh().read(RECOMMENDATIONS), day), days=(day, day))


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
