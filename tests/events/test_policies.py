"""[source.policies]: what is missing or odd is refused, clipped, emptied or filled, and counted."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS
from tests.events.shops import JSON_LINES, Shop, record

SCHEMA = "user string, item string, kind string, time string, price string, pieces string, stars string, device string"
SOURCE = JSON_LINES | {
    "source.schema": SCHEMA, "source.columns.price": "price", "source.columns.quantity": "pieces",
    "source.columns.rating": "stars", "source.columns.device": "device",
}  # fmt: skip
RULES = SOURCE | {
    "source.policies.item_id": "{pattern='^[a-z]$', odd='reject'}",
    "source.policies.price": "{missing='median', min=0, odd='null', event_types=['purchase']}",
    "source.policies.quantity": (
        "{missing='constant', constant=1, min=1, max=100, odd='clip', event_types=['purchase']}"
    ),
    "source.policies.rating": "{missing='reject', event_types=['rating'], max=5, odd='reject'}",
    "source.policies.device": "{missing='most_frequent'}",
}


def bought(item: str, day: int, **more: str) -> str:
    return record("u", f"0{day} 10:00:00", item, "purchase", **more)


def day_one() -> list[str]:
    return [
        bought("a", 1, price="1.10", pieces="2", device="app"),
        bought("b", 1, price="9.90", pieces="-3", device="web"),
        bought("c", 1, price="2.20", pieces="200", device="app"),
        bought("d", 1, price="-5", device=" "),
        bought("e", 1),
        # Refused, so that its price says nothing about the day's.
        bought("POST", 1, price="0.01", pieces="1"),
        record("u", "01 10:00:00", "a"),
        record("u", "01 10:00:00", "a", "rating"),
        record("u", "01 10:00:00", "b", "rating", stars="6"),
        record("u", "01 10:00:00", "c", "rating", stars="5"),
    ]


def test_values_are_refused_clipped_emptied_and_filled_and_all_of_it_is_counted(
    spark: SparkSession, tmp_path: Path
) -> None:
    """The median of 1.10, 2.20 and 9.90; what is below 0 is missing. A view has no price, and needs none.

    The log says nothing of regions.
    """
    shop = Shop(spark, tmp_path, RULES | {"source.policies.region": "{missing='constant', constant='here'}"})
    shop.write(1, day_one())
    assert shop.clean(1).rows == {
        "files": 1, "records": 10, "accepted": 7, "rejected": 3, "duplicates": 0,
        "rejected_missing_rating": 1, "rejected_odd_item": 1, "rejected_odd_rating": 1,
        "emptied_price": 1, "clipped_quantity": 2, "filled_price": 2, "filled_quantity": 2, "filled_device": 4,
        "filled_region": 7,
    }  # fmt: skip
    assert shop.rows(EVENTS, "region") == 7 * [("here",)]
    assert shop.rows(EVENTS, "event_type", "item_id", "price", "quantity", "device") == [
        ("purchase", "a", Decimal("1.1000"), Decimal("2.000"), "app"),
        ("purchase", "b", Decimal("9.9000"), Decimal("1.000"), "web"),
        ("purchase", "c", Decimal("2.2000"), Decimal("100.000"), "app"),
        ("purchase", "d", Decimal("2.2000"), Decimal("1.000"), "app"),
        ("purchase", "e", Decimal("2.2000"), Decimal("1.000"), "app"),
        ("rating", "c", None, None, "app"),
        ("view", "a", None, None, "app"),
    ]


@pytest.mark.slow
def test_ids_are_those_of_a_log_without_policies_and_days_in_any_order_hold_the_same(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Day 2 repeats a record of day 1 that lacks a price: it has the median of day 1, whichever is read first."""
    plain = Shop(spark, tmp_path, SOURCE, "plain")
    plain.write(1, day_one())
    plain.write(2, [bought("e", 1), bought("f", 2, price="3"), bought("g", 2)])
    ids = RULES | {"source.columns.event_id": "concat(item, kind, substr(time, 9, 2))"}
    shops = [Shop(spark, tmp_path, ids, name) for name in ("one by one", "backwards", "at once")]
    for shop, nights in zip(shops, ([(1, 1), (2, 2)], [(2, 2), (1, 1)], [(1, 2)]), strict=True):
        for first, last in nights:
            shop.clean(first, last)
    prices = dict(shops[0].rows(EVENTS, "event_id", "price"))
    assert (prices["epurchase01"], prices["gpurchase02"]) == (Decimal("2.2000"), Decimal("3.0000"))
    assert shops[0].contents() == shops[1].contents() == shops[2].contents()
    plain.clean(1, 2)
    hashed = Shop(spark, tmp_path, RULES, "hashed")
    hashed.clean(1, 2)
    assert set(hashed.rows(EVENTS, "event_id")) < set(plain.rows(EVENTS, "event_id"))


@pytest.mark.slow
def test_a_replayed_record_is_filled_as_its_day_was(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(spark, tmp_path, RULES | {"source.policies.item_id": "{pattern='^[a-d]$', odd='reject'}"})
    shop.write(1, day_one())
    shop.clean(1)
    mended = replace(shop, rules=RULES)
    assert mended.replay(1).rows["filled_price"] == 1
    whole = replace(mended, tables="whole")
    whole.clean(1)
    assert mended.rows(EVENTS) == whole.rows(EVENTS)
    assert {row[0] for row in mended.rows(REJECTED_EVENTS, "reason")} == {"missing_rating", "odd_item", "odd_rating"}
