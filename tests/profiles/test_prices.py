"""From sessions to what Spark adds to each event: its clock, its item's attributes, its money; and category_prices."""

from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import CATEGORY_PRICES, SESSIONS, USER_PROFILES
from nextaisle.profiles import SEED, category_prices_of, events_since, rebuild_profiles
from nextaisle.profiles.attributes import first_day_of_changed_attributes
from nextaisle.profiles.prices import mean_prices
from nextaisle.sessions import rebuild_sessions
from nextaisle.storage.latest_rows import LatestRows
from nextaisle.storage.store import Store
from tests.profiles.shop import DAYS, Event, State, events_of, items_of
from tests.sequences.events import ZONE

DAY = 24 * 60
STATES = (State("a1", "tea"), State("a1", "green tea", DAYS[2], "x"), State("b1", "tea"), State("n1", None, brand=None))


def events(spark: SparkSession, settings: Settings, *log: Event) -> DataFrame:
    none = spark.createDataFrame([], SESSIONS.schema)
    sessions = rebuild_sessions(events_of(spark, log), none, EVERYTHING, settings.sessions, ZONE).made.frame()
    return events_since(sessions, items_of(spark, STATES), EVERYTHING, settings.profiles, ZONE)


def test_an_event_has_the_shops_clock_and_its_items_attributes_of_that_day(
    spark: SparkSession, settings: Settings
) -> None:
    # The second day has 23 hours: its 01:59 is followed by 03:00.
    log = [Event("u", DAY + 119), Event("u", DAY + 120), Event("u", 2 * DAY + 60), Event("u", 9, "search", None),
           Event("u", 10, item="n1"), Event("u", 11, item="unknown")]  # fmt: skip
    rows = events(spark, settings, *log).orderBy("event_time").collect()
    assert [(row.event_date.day, row.hour, row.weekday, row.category, row.brand) for row in rows] == [
        (11, 0, 6, None, None), (11, 0, 6, None, None), (11, 0, 6, None, None),
        (12, 1, 7, "tea", "b"), (12, 3, 7, "tea", "b"), (13, 2, 1, "green tea", "x"),
    ]  # fmt: skip


def test_money_is_price_times_pieces_rounded_half_up_and_unknown_where_it_has_no_room(
    spark: SparkSession, settings: Settings
) -> None:
    prices = [
        ("2.5", "3"),
        ("2.5", None),
        (None, "3"),
        ("0.0001", "0.5"),
        ("0.0001", "0.499"),
        ("9e13", "9e13"),
        ("1e11", None),
    ]
    log = [Event("u", n, "purchase", price=price, quantity=pieces) for n, (price, pieces) in enumerate(prices)]
    rows = events(spark, settings, *log).orderBy("event_time").collect()
    told = ["7.5", "2.5", None, "0.0001", "0", None, None]
    assert [row.money for row in rows] == [text and Decimal(text).quantize(Decimal("0.0001")) for text in told]


def test_a_category_costs_what_was_paid_for_priced_pieces(spark: SparkSession, settings: Settings) -> None:
    log = [
        Event("u", 1, "purchase", price="2", quantity="3"), Event("v", 1, "purchase", "b1", price="4"),
        # No price, no piece, no purchase, no category.
        Event("u", 2, "purchase"), Event("u", 3, "purchase", price="9", quantity="0"), Event("u", 4, price="9"),
        Event("u", 5, "purchase", "n1", price="9"),
    ]  # fmt: skip
    (row,) = check_schema(category_prices_of(events(spark, settings, *log)), CATEGORY_PRICES).collect()
    assert row.asDict() == {"category": "tea", "event_date": DAYS[0], "purchase_count": 2, "pieces": 4, "money": 10}


def test_a_mean_price_is_of_the_days_that_end_with_its_own(spark: SparkSession) -> None:
    paid = [("tea", 0, 1, 1), ("tea", 1, 3, 9), ("tea", 3, 1, 2), ("tea", 4, 2, 1), ("ink", 1, 3, 100)]
    rows = [(category, DAYS[n], 1, Decimal(pieces), Decimal(money)) for category, n, pieces, money in paid]
    found = mean_prices(spark.createDataFrame(rows, CATEGORY_PRICES.schema), 2).collect()
    means = {(row.category, row.event_date.day): str(row.mean_price) for row in found}
    assert means == {
        ("tea", 11): "1.000000", ("tea", 12): "2.500000", ("tea", 14): "2.000000", ("tea", 15): "1.000000",
        ("ink", 12): "33.333333",
    }  # fmt: skip


def test_a_users_price_level_is_what_they_paid_over_the_mean(spark: SparkSession, settings: Settings) -> None:
    log = [
        Event("u", 1, "purchase", "b1", "1", "2"), Event("v", 2, "purchase", "b1", "4", "1"),
        Event("u", DAY + 1, "purchase", "b1", "6", "1"), Event("u", DAY + 2, "purchase", "n1", "50", "1"),
        Event("v", DAY + 3),
    ]  # fmt: skip
    known = events(spark, settings, *log)
    none = spark.createDataFrame([], USER_PROFILES.schema)
    rows = rebuild_profiles(known, LatestRows(none), category_prices_of(known), settings.profiles)
    levels = {
        (row.user_id, row.as_of_date.day): (row.paid_money, row.mean_price_money, row.price_level)
        for row in check_schema(rows.frame(), USER_PROFILES).collect()
    }
    # The mean is 6 / 3 on the first day, and 12 / 4 through the second.
    assert levels == {
        ("u", 11): (2, 4, 0.5), ("v", 11): (4, 2, 2.0), ("u", 12): (8, 7, 8 / 7), ("v", 12): (4, 2, 2.0),
    }  # fmt: skip


def test_a_profile_goes_on_from_the_users_row_in_a_file(spark: SparkSession, settings: Settings, store: Store) -> None:
    log = [
        Event("u", 1, "purchase", "b1", "1", "2"), Event("u", DAY + 1, "purchase", "b1", "6", "1"),
        Event("v", 2, "cart", "b1", "4", "1"), Event("w", DAY + 3, "view", "n1"), Event("v", DAY + 3, "purchase", "b1"),
    ]  # fmt: skip
    known, rules, day = events(spark, settings, *log).localCheckpoint(), settings.profiles, DAYS[1]
    prices, none = category_prices_of(known), LatestRows(spark.createDataFrame([], USER_PROFILES.schema))
    earlier, later = known.where(F.col("event_date") < F.lit(day)), known.where(F.col("event_date") >= F.lit(day))
    store.replace(USER_PROFILES, rebuild_profiles(earlier, none, prices, rules), "as_of_date IS NOT NULL")
    seeds = store.fresh().latest_rows(USER_PROFILES, SEED, known.select("user_id").distinct(), day)
    assert seeds.files is not None
    found = rebuild_profiles(later, seeds, prices, rules).frame().collect()
    assert {row["user_id"]: (row["active_day_count"], row["event_counts"]) for row in found} == {
        "u": (2, {"purchase": 2}), "v": (2, {"cart": 1, "purchase": 1}), "w": (1, {"view": 1}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("states", "touched"),
    [
        (STATES, None),
        ((*STATES, State("c1", "tea", first_seen=DAYS[3])), DAYS[3]),
        ((*STATES, State("b1", "coffee", DAYS[4])), DAYS[4]),
        ((State("a1", "tea"), *STATES[2:]), DAYS[2]),
        ((State("a1", "tea", first_seen=DAYS[1]), *STATES[1:]), None),
        ((*STATES[:3], State("n1", "ink", first_seen=DAYS[1])), DAYS[0]),
    ],
)
def test_attributes_touch_no_day_before_they_hold_or_their_item_is_seen(
    spark: SparkSession, states: tuple[State, ...], touched: date | None
) -> None:
    assert first_day_of_changed_attributes(items_of(spark, STATES), items_of(spark, states), "category") == touched
