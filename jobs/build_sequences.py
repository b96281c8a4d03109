"""Extends the vocabulary (items) and writes each user's history as of the days on which it changed (sequences)."""

from pyspark.sql import functions as F

from nextaisle.changes import first_day_to_build, last_day_known
from nextaisle.contract.tables import EVENTS, ITEMS, SEQUENCES, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.sequences import catalogue_state, changed_items, read_catalogue, rebuild_sequences


def run(night: Night) -> Result:
    store, settings = night.store, night.settings
    first = first_day_to_build(night, JOB.name, SESSIONS, SEQUENCES)
    catalogue = read_catalogue(night.spark, settings.items)
    events = store.read(EVENTS).where(F.col("event_date") >= F.lit(first))
    items = changed_items(events, catalogue, store.read(ITEMS), last_day_known(night))
    store.merge(ITEMS, items)
    known = store.fresh().read(ITEMS)
    rows = rebuild_sequences(store.read(SESSIONS), store.read(SEQUENCES), known, first, settings)
    where = f"as_of_date >= DATE'{first:%Y-%m-%d}'"
    store.replace(SEQUENCES, rows, where)
    built = store.fresh()
    return Result({"sequences": built.read(SEQUENCES).where(where).count(), "items": built.read(ITEMS).count()})


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
