"""Counts users' ways (user_profiles), prices of categories (category_prices), and what leads to what (item_graph)"""

from pyspark.sql import functions as F

from nextaisle.changes import changed_sessions
from nextaisle.contract.tables import CATEGORY_PRICES, ITEM_GRAPH, ITEMS, SESSIONS, USER_PROFILES
from nextaisle.job import Job, Night, Result, main
from nextaisle.profiles import (
    SEED,
    category_prices_of,
    count_left_out,
    events_since,
    first_touched_day,
    rebuild_item_graph,
    rebuild_profiles,
)  # fmt: skip


def run(night: Night) -> Result:
    store, settings, zone = night.store, night.settings, night.settings.source.time_zone
    # Before its sources: seeds that another run makes meanwhile, of later sessions, would not fit these.
    store.pin(*JOB.writes)
    first = first_touched_day(night, JOB.name)
    sessions = store.read(SESSIONS)
    event_days, profile_days = (f"{day} >= DATE'{first:%Y-%m-%d}'" for day in ("event_date", "as_of_date"))
    items = store.read(ITEMS)
    # Most sessions end without a purchase.
    bought = sessions.where(F.array_contains("event_types", "purchase"))
    paid = events_since(bought, items, first, settings.profiles, zone)
    store.replace(CATEGORY_PRICES, category_prices_of(paid), event_days)
    since = F.date_sub(F.lit(first), settings.profiles.price_days - 1)
    prices = store.fresh().read(CATEGORY_PRICES).where(F.col("event_date") >= since)
    users = changed_sessions(sessions, first, zone).select("user_id").distinct()
    seeds = store.latest_rows(USER_PROFILES, SEED, users, first)
    events = events_since(sessions, items, first, settings.profiles, zone)
    store.replace(USER_PROFILES, rebuild_profiles(events, seeds, prices, settings.profiles), profile_days)
    graph = rebuild_item_graph(sessions, first, settings.item_graph, zone)
    store.replace(ITEM_GRAPH, graph, event_days)
    built = store.fresh()
    profiles, pairs = built.read(USER_PROFILES).where(profile_days), built.read(ITEM_GRAPH).where(event_days)
    counts = {"profiles": profiles.count(), "pairs": pairs.count()}
    return Result(counts | count_left_out(sessions, first, settings.item_graph, zone))


JOB = Job(
    name="build_profiles",
    run=run,
    reads=(SESSIONS, ITEMS),
    writes=(USER_PROFILES, CATEGORY_PRICES, ITEM_GRAPH),
    sections=("profiles", "item_graph", "source"),
)

if __name__ == "__main__":
    main(JOB)
