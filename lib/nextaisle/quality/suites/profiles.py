"""Suites of what build_profiles writes: user_profiles, category_prices, item_graph."""

from typing import Final

from nextaisle.contract.tables import CATEGORY_PRICES, ITEM_GRAPH, USER_PROFILES
from nextaisle.quality.expectations import Expectation, Suite, not_null, unique
from nextaisle.quality.suites.words import local_day


def _total(counts: str) -> str:
    return f"aggregate({counts}, 0L, (total, each) -> total + each)"


def _is_entropy(name: str) -> str:
    """One category alone is 0; NaN is above every number."""
    return f"({name} is null or {name} between 0 and 64)"


_PROFILES = Suite(
    USER_PROFILES,
    "select *, as_of_date as day from {user_profiles}",
    ("user_id",),
    (
        not_null(USER_PROFILES),
        Expectation("day_of_last_event", f"{local_day('last_event_time')} = as_of_date"),
        Expectation(
            "ascending_dates",
            "first_event_date <= coalesce(first_purchase_date, as_of_date) "
            "and coalesce(first_purchase_date, as_of_date) <= coalesce(last_purchase_date, as_of_date) "
            "and coalesce(last_purchase_date, as_of_date) <= as_of_date",
        ),
        Expectation("accepted_range_days", "active_day_count between 1 and datediff(as_of_date, first_event_date) + 1"),
        Expectation(
            "accepted_range_purchases",
            "purchase_day_count between 0 and least(purchase_count, active_day_count) "
            "and repeat_purchase_count between 0 and purchase_count and (purchase_count = 0 or purchase_day_count > 0)",
        ),
        Expectation("reconciled_purchases", "purchase_count = coalesce(event_counts['purchase'], 0)"),
        Expectation("accepted_range_share", "repeat_share is null or repeat_share between 0 and 1"),
        Expectation(
            "accepted_range_funnel",
            "cart_purchased_count >= 0 and cart_purchased_count <= carted_count and carted_count <= viewed_count "
            "and view_purchased_count between 0 and viewed_count",
        ),
        Expectation("equal_lengths", "size(hour_counts) = 24 and size(weekday_counts) = 7"),
        Expectation("reconciled_hours", f"{_total('hour_counts')} = {_total('weekday_counts')}"),
        Expectation(
            "accepted_range_entropy",
            " and ".join(_is_entropy(name) for name in ("category_entropy", "recent_entropy", "earlier_entropy")),
        ),
    ),
)

# Whoever did something on a day has a profile of that day, and nobody else has.
_PROFILED_USERS = Suite(
    USER_PROFILES,
    f"""
    select day, user_id, coalesce(event_count, 0) as event_count, coalesce(profile_count, 0) as profile_count
    from (
      select {local_day("event_time")} as day, user_id, count(*) as event_count
      from {{sessions}} lateral view explode(event_times) as event_time group by all
    ) full join (
      select as_of_date as day, user_id, count(*) as profile_count from {{user_profiles}} group by all
    ) using (day, user_id)
    """,
    ("user_id",),
    (Expectation("reconciled_sessions", "(profile_count > 0) = (event_count > 0)"),),
)

_PRICES = Suite(
    CATEGORY_PRICES,
    "select *, event_date as day from {category_prices}",
    ("category",),
    (not_null(CATEGORY_PRICES), Expectation("accepted_range_pieces", "purchase_count >= 1 and pieces > 0")),
)

_GRAPH = Suite(
    ITEM_GRAPH,
    "select *, event_date as day from {item_graph}",
    ("from_item_id", "to_item_id", "kind", "distance"),
    (
        not_null(ITEM_GRAPH),
        Expectation("accepted_range_pair_count", "pair_count >= 1"),
        Expectation(
            "accepted_values_kind",
            "(kind = 'co_purchase' and distance = 0 and from_item_id < to_item_id) "
            "or (kind <> 'co_purchase' and contains(kind, '_') and distance >= 1 and from_item_id <> to_item_id)",
        ),
    ),
)

_GRAPH_ITEMS = Suite(
    ITEM_GRAPH,
    """
    select day, item_id, known_id
    from (
      select distinct event_date as day, item_id
      from {item_graph} lateral view explode(array(from_item_id, to_item_id)) as item_id
    ) left join (select distinct item_id, item_id as known_id from {items}) using (item_id)
    """,
    ("item_id",),
    (Expectation("relationships_items", "known_id is not null"),),
)

OF_PROFILES_AND_GRAPH: Final = (
    _PROFILES,
    unique(USER_PROFILES),
    _PROFILED_USERS,
    _PRICES,
    unique(CATEGORY_PRICES),
    _GRAPH,
    unique(ITEM_GRAPH),
    _GRAPH_ITEMS,
)
