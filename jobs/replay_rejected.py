"""Refused records, read again with the mapping of today: those that are good now go to events; no file is read.

--set replay.reasons='["unknown_type"]' takes some of them; --set replay.counts_only=true only counts what would come.
"""

from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from nextaisle.events.publishing import publish
from nextaisle.events.staging import replayed_batch
from nextaisle.job import Job, Night, Result, main


def run(night: Night) -> Result:
    batch = replayed_batch(night.store, night.settings, night.first, night.last)
    rows = batch.counts()
    if not night.settings.replay.counts_only:
        publish(night.store, batch, night.settings.events)
    return Result(rows)


JOB = Job(
    name="replay_rejected",
    run=run,
    writes=(EVENTS, REJECTED_EVENTS),
    sections=("source", "events", "bots", "replay"),
)

if __name__ == "__main__":
    main(JOB)
