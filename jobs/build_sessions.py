"""Cuts events into sessions: one row per visit of one user."""

from nextaisle.changes import first_day_to_build
from nextaisle.contract.tables import EVENTS, SESSIONS
from nextaisle.job import Job, Night, Result, main
from nextaisle.sessions import count_sessions, rebuild_sessions


def run(night: Night) -> Result:
    store, settings = night.store, night.settings
    first = first_day_to_build(night, JOB.name, EVENTS, SESSIONS)
    events, earlier = store.read(EVENTS), store.read(SESSIONS)
    rebuilt = rebuild_sessions(events, earlier, first, settings.sessions, settings.source.time_zone)
    store.replace(SESSIONS, rebuilt.rows, rebuilt.where)
    built = store.fresh().read(SESSIONS).where(rebuilt.where)
    return Result(count_sessions(built, settings.sessions))


JOB = Job(name="build_sessions", run=run, reads=(EVENTS,), writes=(SESSIONS,), sections=("sessions", "source"))

if __name__ == "__main__":
    main(JOB)
