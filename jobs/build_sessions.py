"""Cuts events into sessions: one row per visit of one user, under the user that an id is linked to (identities)."""

from nextaisle.changes import first_day_to_build
from nextaisle.contract.tables import EVENTS, IDENTITIES, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.mapped import fingerprint
from nextaisle.sessions import (
    Links,
    count_sessions,
    read_links,
    rebuild_linked_sessions,
    rebuild_sessions,
    refuse_lost,
)


def run(night: Night) -> Result:
    store, settings, zone = night.store, night.settings, night.settings.source.time_zone
    store.pin(*JOB.writes)
    first = first_day_to_build(night, JOB.name, EVENTS)
    events, earlier = store.read(EVENTS), store.read(SESSIONS)
    has_links = bool(settings.identities.path) or store.exists(IDENTITIES)
    if has_links:
        links = Links(read_links(night.spark, settings.identities, zone), store.read(IDENTITIES))
        if settings.identities.path:
            refuse_lost(links, settings.identities.max_lost_share)
        rebuilt = rebuild_linked_sessions(events, earlier, links, first, settings.sessions, zone)
    else:
        rebuilt = rebuild_sessions(events, earlier, first, settings.sessions, zone)
    # A session that goes on after midnight changes on the day on which it began; what it held of that day stays. With
    # links, whose events they are may change too.
    store.replace(SESSIONS, rebuilt.made, rebuilt.where, None if has_links else first, rebuilt.gone)
    if has_links:
        # Last: what stands there is what the sessions were made with.
        store.replace(IDENTITIES, links.now, "true")
    built = store.fresh().read(SESSIONS).where(rebuilt.where)
    return Result(count_sessions(built, settings.sessions))


def inputs(night: Night) -> str:
    return fingerprint(read_links(night.spark, night.settings.identities, night.settings.source.time_zone))


JOB = Job(
    name="build_sessions",
    run=run,
    reads=(EVENTS,),
    writes=(SESSIONS, IDENTITIES),
    sections=("sessions", "source", "identities"),
    inputs=inputs,
)

if __name__ == "__main__":
    main(JOB)
