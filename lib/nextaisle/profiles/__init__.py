"""Sessions and items to user_profiles, category_prices and item_graph, and what is published of them as of a day."""

from nextaisle.profiles.graph import count_left_out, published_graph, rebuild_item_graph
from nextaisle.profiles.prices import category_prices_of
from nextaisle.profiles.published import RECENCY_SQL, published_profiles
from nextaisle.profiles.rebuilding import SEED, events_since, rebuild_profiles
from nextaisle.profiles.touched import first_touched_day

__all__ = [
    "RECENCY_SQL",
    "SEED",
    "category_prices_of",
    "count_left_out",
    "events_since",
    "first_touched_day",
    "published_graph",
    "published_profiles",
    "rebuild_item_graph",
    "rebuild_profiles",
]
