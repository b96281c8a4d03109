"""Extends the vocabulary (items), keeps who exists (users), and writes users' histories as of days (sequences)."""

from datetime import date

from pyspark.sql import DataFrame

from nextaisle.changes import (
    EVERYTHING,
    changed_sessions,
    first_day_to_build,
    last_day_known,
    last_day_of_events,
    last_logged_day,
)
from nextaisle.contract.as_of import compacted_through
from nextaisle.contract.tables import EVENTS, ITEMS, SEQUENCES, SESSIONS, USERS
from nextaisle.job import Job, Night, Result, main
from nextaisle.ledger import compacted_count, compacted_day
from nextaisle.sequences import (
    SEED,
    catalogue_state,
    changed_users,
    compacted,
    read_catalogue,
    read_lookup,
    read_users,
    rebuild_items,
    rebuild_sequences,
    rows_by_user,
    users_state,
)
from nextaisle.spark import beside
from nextaisle.storage.partitions import days_literal
from nextaisle.storage.store import Store


def run(night: Night) -> Result:
    store, settings = night.store, night.settings
    # Before its sources: seeds that another run makes meanwhile, of later sessions, would not fit these.
    store.pin(*JOB.writes)
    sessions, sequences = store.read(SESSIONS), store.read(SEQUENCES)
    zone = settings.source.time_zone
    due = compacted_through(last_day_of_events(store, zone) or last_day_known(night), settings.sequences.daily_days)
    first = first_day_to_build(night, JOB.name, SESSIONS)
    # A compacted day cannot be built alone; nor can one that was compacted when the last event lay later.
    done = compacted_day(store) or EVERYTHING
    first = first if first > max(due, done) else EVERYTHING
    where = f"as_of_date >= DATE'{first:%Y-%m-%d}'"
    changed = changed_sessions(sessions, first, zone)
    users = changed.select("user_id").distinct()
    # What they are mapped by are options of the session, which another thread would meet.
    catalogue, listed = read_catalogue(night.spark, settings.items, zone), read_users(night.spark, settings.users, zone)
    # What items take are many small Spark jobs, which leave cores idle.
    with beside(night.spark, lambda: rows_by_user(changed, store.latest_rows(SEQUENCES, SEED, users, first))) as rows:
        _extend(night, first, catalogue, listed)
        vocabulary = read_lookup(store.fresh().read(ITEMS))
    store.replace(SEQUENCES, rebuild_sequences(rows.result(), vocabulary, first, due, settings), where)
    if first != EVERYTHING and due > done:
        _compact(store, sequences, due)
    built = store.fresh()
    counts = {"sequences": built.read(SEQUENCES).where(where).count(), "items": built.read(ITEMS).count()}
    return Result(counts | compacted_count(due if first == EVERYTHING else max(due, done)))


def _extend(night: Night, first: date, catalogue: DataFrame, listed: DataFrame) -> None:
    """The vocabulary, and the users whom the shop lists."""
    store, known_through = night.store, last_logged_day(night)
    events, items = store.read(EVENTS), store.read(ITEMS)
    store.replace(ITEMS, rebuild_items(events, catalogue, items, first, known_through), "true")
    if night.settings.users.path:
        store.merge(USERS, changed_users(listed, store.read(USERS), known_through))


def _compact(store: Store, sequences: DataFrame, through: date) -> None:
    rows, days = compacted(sequences, through)
    if days:
        store.compact(SEQUENCES, rows, days_literal("as_of_date", days))


def inputs(night: Night) -> str:
    settings, zone = night.settings, night.settings.source.time_zone
    return catalogue_state(night.spark, settings.items, zone) + users_state(night.spark, settings.users, zone)


JOB = Job(
    name="build_sequences",
    run=run,
    reads=(SESSIONS, EVENTS),
    writes=(SEQUENCES, ITEMS, USERS),
    sections=("sequences", "items", "source"),
    inputs=inputs,
)

if __name__ == "__main__":
    main(JOB)
