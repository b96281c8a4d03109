"""Extends the vocabulary (items) and writes each user's history as of the days on which it changed (sequences)."""

from datetime import date
from typing import Final

from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING, first_day_to_build, last_day_known, last_day_of, last_run
from nextaisle.contract.as_of import compacted_through
from nextaisle.contract.tables import EVENTS, ITEMS, SEQUENCES, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.sequences import catalogue_state, changed_items, compacted, read_catalogue, rebuild_sequences

# The day through which old rows are compacted, in job_runs.rows.
_COMPACTED: Final = "compacted_through"


def run(night: Night) -> Result:
    store, settings = night.store, night.settings
    sessions, sequences = store.read(SESSIONS), store.read(SEQUENCES)
    through = compacted_through(
        last_day_of(sessions, settings.source.time_zone) or last_day_known(night), settings.sequences.daily_days
    )
    first = first_day_to_build(night, JOB.name, SESSIONS, SEQUENCES)
    # A compacted day cannot be built alone.
    first = first if first > through else EVERYTHING
    catalogue = read_catalogue(night.spark, settings.items)
    events = store.read(EVENTS).where(F.col("event_date") >= F.lit(first))
    store.merge(ITEMS, changed_items(events, catalogue, store.read(ITEMS), last_day_known(night)))
    known = store.fresh().read(ITEMS)
    where = f"as_of_date >= DATE'{first:%Y-%m-%d}'"
    store.replace(SEQUENCES, rebuild_sequences(sessions, sequences, known, first, through, settings), where)
    if first > through and not _is_compacted(night, through):
        store.replace(SEQUENCES, compacted(sequences, through), f"as_of_date <= DATE'{through:%Y-%m-%d}'")
    built = store.fresh()
    counts = {"sequences": built.read(SEQUENCES).where(where).count(), "items": built.read(ITEMS).count()}
    return Result(counts | {_COMPACTED: _number(through)})


def _is_compacted(night: Night, through: date) -> bool:
    last = last_run(night, JOB.name, SESSIONS)
    return last is not None and last["rows"].get(_COMPACTED) == _number(through)


def _number(day: date) -> int:
    """2017-11-30 as 20171130."""
    return int(f"{day:%Y%m%d}")


JOB = Job(
    name="build_sequences",
    run=run,
    reads=(SESSIONS, EVENTS),
    writes=(SEQUENCES, ITEMS),
    sections=("sequences", "items", "source"),
    inputs=lambda night: catalogue_state(night.spark, night.settings.items),
)

if __name__ == "__main__":
    main(JOB)
