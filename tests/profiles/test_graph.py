from collections import Counter
from datetime import date, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from nextaisle.changes import EVERYTHING
from nextaisle.config import PublishedGraph, Settings
from nextaisle.contract.tables import ITEM_GRAPH, SESSIONS
from nextaisle.profiles import published_graph
from nextaisle.profiles.graph import count_left_out, rebuild_item_graph
from nextaisle.sessions import rebuild_sessions
from tests.profiles.shop import Event, events_of
from tests.sequences.events import ZONE

AS_OF = date(2024, 3, 1)
RULES = PublishedGraph(half_life_days=30.0, neighbours=2)


def graph(spark: SparkSession, *rows: str) -> DataFrame:
    """Rows as "a b view_view 1 30 4": from, to, kind, distance, age in days, count."""
    parts = [row.split() for row in rows]
    return spark.createDataFrame(
        [(a, b, kind, int(d), AS_OF - timedelta(days=int(age)), int(n)) for a, b, kind, d, age, n in parts],
        ITEM_GRAPH.schema,
    )


def published(spark: SparkSession, *rows: str, rules: PublishedGraph = RULES) -> list[str]:
    found = published_graph(graph(spark, *rows), AS_OF, rules).orderBy("kind", "from_item_id", "rank").collect()
    return [f"{row.from_item_id} {row.to_item_id} {row.kind} {row.weight:g} {row['rank']}" for row in found]


def test_a_pair_weighs_half_after_a_half_life_and_less_the_farther(spark: SparkSession) -> None:
    assert published(spark, "a b view_view 1 30 4", "a b view_view 2 0 1", "a c view_view 1 60 4") == [
        "a b view_view 2.5 1", "a c view_view 1 2",
    ]  # fmt: skip


def test_only_the_strongest_of_a_kind_are_kept_and_equals_rank_by_id(spark: SparkSession) -> None:
    rows = [f"a {to} view_view 1 0 {count}" for to, count in (("e", 1), ("d", 2), ("c", 1), ("b", 1))]
    assert published(spark, *rows, "a e view_cart 1 0 1") == [
        "a e view_cart 1 1", "a d view_view 2 1", "a b view_view 1 2",
    ]  # fmt: skip


def test_a_co_purchase_is_there_in_both_directions(spark: SparkSession) -> None:
    assert published(spark, "a b co_purchase 0 0 2", "b c co_purchase 0 0 1") == [
        "a b co_purchase 2 1", "b a co_purchase 2 1", "b c co_purchase 1 2", "c b co_purchase 1 1",
    ]  # fmt: skip


def test_what_came_later_or_lies_thirty_half_lives_back_weighs_nothing(spark: SparkSession) -> None:
    rules = RULES.model_copy(update={"half_life_days": 1.0})
    rows = ("a b view_view 1 -1 9", "a c view_view 1 31 1", "a d view_view 1 30 1", "a e view_view 2 30 1")
    assert published(spark, *rows, rules=rules) == [f"a d view_view {2.0**-30:g} 1"]


def test_the_weights_are_the_same_bits_in_any_order_of_rows(spark: SparkSession) -> None:
    rows = [f"a b view_view {1 + n % 3} {7 * n} {1 + n % 5}" for n in range(40)]
    expected = published_graph(graph(spark, *rows), AS_OF, RULES).collect()
    assert published_graph(graph(spark, *reversed(rows)).repartition(3), AS_OF, RULES).collect() == expected
    exact = sum((1 + n % 5) * int(2 ** (30 - 7 * n / 30) / (1 + n % 3)) for n in range(40)) / 2**30
    assert expected[0].weight == pytest.approx(exact, rel=1e-8)


def test_a_pair_belongs_to_the_day_of_its_later_event_and_large_baskets_are_counted(
    spark: SparkSession, settings: Settings
) -> None:
    rules = settings.item_graph.model_copy(update={"max_basket_items": 2})
    baskets = [Event("v", 60, "purchase", item) for item in ("a", "b", "c", "c")] + [Event("w", 60, "purchase", "a")]
    # Over midnight: of x two and two are no large basket, as e was bought before; of y three and one are.
    for user, evening, night in (("x", "de", "efg"), ("y", "hij", "jk")):
        baskets += [Event(user, 24 * 60 - 5, "purchase", item) for item in evening]
        baskets += [Event(user, 24 * 60 + 5, "purchase", item) for item in night]
    events = [Event("u", 24 * 60 - 5, item="x"), Event("u", 24 * 60 + 5, item="y"), *baskets]
    none = spark.createDataFrame([], SESSIONS.schema)
    sessions = rebuild_sessions(events_of(spark, events), none, EVERYTHING, settings.sessions, ZONE).made.frame()
    rows = rebuild_item_graph(sessions, EVERYTHING, rules, ZONE).frame().collect()
    shown = Counter((row.kind, row.event_date.day, row.pair_count) for row in rows if "purchase_" not in row.kind)
    assert shown == {("view_view", 12, 1): 1, ("co_purchase", 11, 1): 3, ("co_purchase", 12, 1): 7}
    assert count_left_out(sessions, EVERYTHING, rules, ZONE) == {"capped_baskets": 2, "left_out_pairs": 5}
