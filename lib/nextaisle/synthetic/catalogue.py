"""The items of a synthetic shop: one cycle of successors, a long tail of popularity, names and prices.

An item is known by its place on the cycle: the successor of place 6 is place 7, that of the last one place 0. Places
are in order of department, category and product type, so a successor is mostly of the same kind, as in a shop.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from nextaisle.config import Synthetic
from nextaisle.synthetic.randomness import Floats, Integers, uniform

# Item popularity falls as 1 / rank^s. In shops' logs s lies between .8 and 1.2.
ZIPF_EXPONENT: Final = 1.0

_DEPARTMENTS: Final = ("grocery", "drinks", "household", "beauty", "baby", "pets", "garden", "electronics")
_CATEGORIES, _PRODUCT_TYPES, _BRANDS = 32, 96, 40
_NUMBER, _POPULARITY, _BRAND, _PRICE = 101, 102, 103, 104


@dataclass(frozen=True)
class Catalogue:
    """Arrays over the places of the cycle, but the last two.

    | place | item_id     | price  | popularity | place_of_rank[0] = 2: the most popular item stands at place 2
    |-------|-------------|--------|------------|
    | 0     | item_000007 | 3.1900 | 0.12       |
    """

    item_ids: pa.Array
    prices: pa.Array
    brands: Integers
    popularity: Floats  # share of a free choice that falls on each place; the sum is 1
    place_of_rank: Integers
    cumulated: Floats  # popularity summed over ranks: what a uniform number is looked up in


@lru_cache(maxsize=4)
def catalogue(items: int, seed: int) -> Catalogue:
    places = np.arange(items, dtype=np.int64)
    place_of_rank = np.argsort(_draw(seed, _POPULARITY, places)).astype(np.int64)
    weights = 1.0 / np.arange(1, items + 1) ** ZIPF_EXPONENT
    popularity = np.empty(items)
    popularity[place_of_rank] = weights / weights.sum()
    cumulated = np.cumsum(popularity[place_of_rank])
    # Rounding leaves the sum a hair beside 1, and a draw above it would have no item.
    cumulated[-1] = 1.0
    numbers = np.argsort(_draw(seed, _NUMBER, places))
    # Between 2.09 and 109.69, as prices in shops end.
    dimes = np.exp(3 + 4 * _draw(seed, _PRICE, places)).astype(np.int64)
    return Catalogue(
        item_ids=pa.array([f"item_{number:06d}" for number in numbers]),
        prices=pa.array([Decimal(10 * int(count) + 9).scaleb(-2) for count in dimes], pa.decimal128(18, 4)),
        brands=(_draw(seed, _BRAND, places) ** 2 * _BRANDS).astype(np.int64),
        popularity=popularity,
        place_of_rank=place_of_rank,
        cumulated=cumulated,
    )


def item_rows(shoppers: Synthetic) -> pa.Table:
    """The shop's catalogue as conf/synthetic.toml reads it."""
    items = catalogue(shoppers.items, shoppers.seed)
    places = np.arange(shoppers.items)
    department, category, product_type = (
        places * groups // shoppers.items for groups in (len(_DEPARTMENTS), _CATEGORIES, _PRODUCT_TYPES)
    )
    names = [_DEPARTMENTS[number] for number in department]
    kinds = [f"{name} kind {number}" for name, number in zip(names, product_type, strict=True)]
    return pa.table(
        {
            "item_id": items.item_ids,
            "title": [f"{kind} of brand {brand}" for kind, brand in zip(kinds, items.brands, strict=True)],
            "department": names,
            "category": [f"{name} aisle {number}" for name, number in zip(names, category, strict=True)],
            "brand": [f"brand {number}" for number in items.brands],
            "product_type": kinds,
            "price": items.prices,
        }
    )


def _draw(seed: int, stream: int, places: Integers) -> Floats:
    return uniform(seed, stream, places, np.zeros(1, np.int64))
