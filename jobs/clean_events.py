"""Raw logs, in any format that Spark reads, to events; refused records and bots go to rejected_events with a reason."""

from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.events.files import check_unchanged, files_of, fingerprint
from nextaisle.events.gates import check_shares
from nextaisle.events.publishing import publish
from nextaisle.events.staging import staged_batch
from nextaisle.events.unread import say_what_stays
from nextaisle.job import Job, Night, Result, main


def run(night: Night) -> Result:
    files = files_of(night.spark, night.settings.source, night.store, night.first, night.last)
    say_what_stays(night.store, night.settings.source, files)
    batch = staged_batch(night.store, night.settings, files, night.first, night.last)
    check_shares(batch, night.settings)
    rows = batch.counts()
    check_unchanged(night.spark, night.settings.source, batch.sources)
    publish(night.store, batch, night.settings.events)
    return Result({"files": len(batch.sources), **rows})


def inputs(night: Night) -> str:
    return fingerprint(files_of(night.spark, night.settings.source, night.store.fresh(), night.first, night.last))


JOB = Job(
    name="clean_events",
    run=run,
    writes=(EVENTS, REJECTED_EVENTS, SOURCE_FILES),
    sections=("source", "events", "bots"),
    inputs=inputs,
)

if __name__ == "__main__":
    main(JOB)
