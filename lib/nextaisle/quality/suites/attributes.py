"""Suites of items and users: the vocabulary, and what is known of its members."""

from typing import Final

from nextaisle.contract.tables import ITEMS, USERS
from nextaisle.quality.expectations import WARNING, Expectation, Suite, not_null, unique
from nextaisle.quality.suites.words import AS_IT_IS

_ITEMS = Suite(
    ITEMS,
    f"select *, {AS_IT_IS} as day from {{items}}",
    ITEMS.key,
    (
        not_null(ITEMS),
        Expectation("accepted_range_item_index", "item_index >= 1"),
        Expectation("ascending_dates", "first_seen_date <= last_seen_date"),
        Expectation("accepted_range_price", "price is null or price >= 0", WARNING),
    ),
)

# Of the vocabulary as a whole: an item has one index, an index one item, and none is left out.
_ITEM_OF_INDEX = Suite(
    ITEMS,
    f"select {AS_IT_IS} as day, item_index, count(distinct item_id) as item_count from {{items}} group by item_index",
    ("item_index",),
    (Expectation("unique_item_index", "item_count = 1"),),
)
_INDEX_OF_ITEM = Suite(
    ITEMS,
    f"select {AS_IT_IS} as day, item_id, count(distinct item_index) as index_count from {{items}} group by item_id",
    ("item_id",),
    (Expectation("constant_item_index", "index_count = 1"),),
)
_LAST_INDEX = Suite(
    ITEMS,
    f"""
    select {AS_IT_IS} as day, coalesce(max(item_index), 0) as last_index, count(distinct item_index) as index_count
    from {{items}}
    """,
    ("last_index", "index_count"),
    (Expectation("no_gaps_item_index", "last_index = index_count"),),
)

_USERS = Suite(USERS, f"select *, {AS_IT_IS} as day from {{users}}", USERS.key, (not_null(USERS),))

OF_ATTRIBUTES: Final = (
    _ITEMS,
    unique(ITEMS, day=AS_IT_IS),
    _ITEM_OF_INDEX,
    _INDEX_OF_ITEM,
    _LAST_INDEX,
    _USERS,
    unique(USERS, day=AS_IT_IS),
)
