from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nextaisle.contract.errors import InputError
from nextaisle.profiles.blocks import Rules
from tests.profiles.rows import RULES, Event, build, entropy_of, expected, seeds_of, table


def built(*events: Event, rules: Rules = RULES) -> list[dict[str, Any]]:
    return build(table(events), rules).to_pylist()


def day(number: int) -> date:
    return date(2024, 1, number)


def test_counts_and_money_add_up_by_type_and_a_type_without_a_price_has_no_money() -> None:
    first, second = built(
        Event("u", 1, "purchase", money="2.5"), Event("u", 1, "view"),
        Event("u", 3, "purchase", money="0.0001"), Event("u", 3, "return", money="1"), Event("u", 3, "search", None),
    )  # fmt: skip
    assert first["event_counts"] == [("view", 1), ("purchase", 1)]
    assert first["event_money"] == [("purchase", Decimal("2.5"))]
    assert second["event_counts"] == [("view", 1), ("search", 1), ("purchase", 2), ("return", 1)]
    assert second["event_money"] == [("purchase", Decimal("2.5001")), ("return", Decimal(1))]
    assert second["purchase_money"] == Decimal("2.5001")


def test_types_that_are_none_of_ours_count_as_another() -> None:
    first, second = built(Event("u", 1, "wishlist", money="2"), Event("u", 1), Event("u", 2, "shared"))
    assert first["event_counts"] == [("view", 1), ("other", 1)]
    assert (second["event_counts"], second["event_money"]) == ([("view", 1), ("other", 2)], [("other", Decimal(2))])


def test_days_of_purchases_are_told_from_days_of_events() -> None:
    rows = built(
        Event("u", 1), Event("u", 2, "purchase"), Event("u", 2, "purchase"), Event("u", 4, hour=3),
        Event("u", 4, hour=2), Event("u", 5, "purchase"), Event("v", 5),
    )  # fmt: skip
    shown = [
        (row["first_event_date"].day, row["active_day_count"], row["first_purchase_date"], row["last_purchase_date"],
         row["purchase_day_count"], row["purchase_count"], row["last_event_time"].hour)
        for row in rows
    ]  # fmt: skip
    assert shown == [
        (1, 1, None, None, 0, 0, 12),
        (1, 2, day(2), day(2), 1, 2, 12),
        (1, 3, day(2), day(2), 1, 2, 3),
        (1, 4, day(2), day(5), 2, 3, 12),
        (5, 1, None, None, 0, 0, 12),
    ]


def test_a_purchase_is_a_repeat_where_an_earlier_day_had_the_item() -> None:
    rows = built(
        *(
            Event("u", number, "purchase", item)
            for number, item in [(1, "b1"), (1, "b1"), (1, "a1"), (2, "b1"), (3, "c1")]
        )
    )
    assert [row["repeat_purchase_count"] for row in rows] == [0, 1, 1]
    assert [row["bought_item_ids"] for row in rows] == [["a1", "b1"], ["a1", "b1"], ["a1", "b1", "c1"]]


def test_favourites_are_the_most_frequent_then_the_first_by_name() -> None:
    events = [Event("u", 1, item=item) for item in ("c1", "b2", "a2", "c1")]
    (row,) = built(*events, Event("u", 1, "return", "d1"), Event("u", 1, "search", None))
    assert row["favourite_categories"] == [{"category": "c", "event_count": 2}, {"category": "a", "event_count": 1}]
    assert row["favourite_brands"] == [{"brand": "brand 1", "event_count": 2}, {"brand": "brand 2", "event_count": 2}]
    assert [entry["category"] for entry in row["category_counts"]] == ["c", "a", "b"]


def test_hours_and_weekdays_are_counted_of_interest_alone() -> None:
    _, row = built(
        Event("u", 1, hour=23), Event("u", 1, hour=0), Event("u", 8, hour=23), Event("u", 8, "return", hour=5)
    )
    assert row["favourite_hours"] == [{"hour": 23, "event_count": 2}, {"hour": 0, "event_count": 1}]
    assert row["favourite_weekdays"] == [{"weekday": 1, "event_count": 3}]
    assert (row["hour_counts"][23], row["hour_counts"][5], len(row["hour_counts"])) == (2, 0, 24)
    assert row["weekday_counts"] == [3, 0, 0, 0, 0, 0, 0]


def test_windows_end_with_the_rows_day_and_the_earlier_one_before_the_recent() -> None:
    # Windows of two days: of day 5 they are 4 and 5, and 2 and 3.
    rows = built(
        *(Event("u", number, item=item) for number, item in [(1, "a1"), (2, "b1"), (3, "c1"), (3, "b1"), (5, "a1")])
    )
    earlier = round(entropy_of([2, 1]), 12)
    found = [rows[-1][name] for name in ("recent_entropy", "earlier_entropy", "interest_drift")]
    assert found == [0, earlier, -earlier]
    shown = [(entry["event_date"].day, entry["category"]) for entry in rows[-1]["recent_category_counts"]]
    assert shown == [(2, "b"), (3, "b"), (3, "c"), (5, "a")]


def test_steps_and_payments_add_up() -> None:
    _, row = built(
        Event("u", 1, steps=1), Event("u", 1, "cart", steps=2),
        Event("u", 2, "purchase", money="3", mean="2", steps=12), Event("u", 2, "purchase", money="9"),
    )  # fmt: skip
    names = ("viewed_count", "carted_count", "cart_purchased_count", "view_purchased_count")
    assert [row[name] for name in names] == [1, 1, 1, 1]
    # What has no mean price is left out of both.
    assert (row["paid_money"], row["mean_price_money"]) == (3, 2)


def test_of_a_bot_only_the_first_names_are_remembered() -> None:
    rules = RULES._replace(max_distinct=2)
    events = [Event("u", 1, "purchase", item) for item in ("c1", "b1")] + [
        Event("u", 2, "purchase", item) for item in ("a1", "c1")
    ]
    last = built(*events, Event("u", 3, "purchase", "a1"), rules=rules)[-1]
    assert last["bought_item_ids"] == ["b1", "c1"]
    assert last["repeat_purchase_count"] == 1
    assert last["category_counts"] == [{"category": "c", "event_count": 2}, {"category": "b", "event_count": 1}]


def test_money_that_its_column_cannot_hold_is_refused() -> None:
    most = "90000000000000"
    built(Event("u", 1, "purchase", money=most), Event("v", 1, "purchase", money=most))
    with pytest.raises(InputError, match="one user"):
        built(*(Event("u", number, "purchase", money=most) for number in (1, 2)))


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    money = st.sampled_from([None, "0.0001", "7", "12345678.9"])
    kinds = ["view", "search", "cart", "purchase", "return"]
    event = st.builds(
        Event, st.sampled_from("uvw"), st.integers(1, 9), st.sampled_from(kinds),
        st.sampled_from(["a1", "a2", "b1", "c2", "d3"]), st.integers(0, 23), money, money, st.integers(0, 15),
    )  # fmt: skip
    return draw(st.lists(event.map(_without_search_item), min_size=1, max_size=40))


def _without_search_item(event: Event) -> Event:
    bare = {"item": None, "money": None, "mean": None, "steps": 0} if event.kind == "search" else {}
    if event.money is None or event.kind != "purchase":
        bare["mean"] = None
    return Event(**(vars(event) | bare))


@hypothesis_settings(deadline=None)
@given(events=logs(), most=st.integers(1, 4))
def test_every_column_is_what_plain_counting_gives(events: list[Event], most: int) -> None:
    rules = RULES._replace(max_distinct=most)
    rows = {(row["user_id"], row["as_of_date"]): row for row in build(table(events), rules).to_pylist()}
    told = {(row["user_id"], row["as_of_date"]): row for row in expected(events, rules)}
    assert rows == told


@hypothesis_settings(deadline=None)
@given(events=logs(), cut=st.integers(2, 9), most=st.integers(1, 4))
def test_going_on_from_seeds_gives_the_rows_of_one_build(events: list[Event], cut: int, most: int) -> None:
    rules = RULES._replace(max_distinct=most)
    before, after = [e for e in events if e.day < cut], [e for e in events if e.day >= cut]
    assume(before and after)
    concerned = [event for event in before if event.user in {each.user for each in after}]
    seeds = seeds_of(build(table(concerned), rules)) if concerned else None
    whole = [row for row in build(table(events), rules).to_pylist() if row["as_of_date"] >= day(cut)]
    assert build(table(after, seeds), rules).to_pylist() == whole


def _batches(rows: pa.Table, size: int) -> Iterator[pa.RecordBatch]:
    yield from rows.to_batches(max_chunksize=size)
