from datetime import date

import pytest
from pyspark.sql import DataFrame, SparkSession

from nextaisle import overlays
from nextaisle.config import Evaluation
from nextaisle.evaluation.baselines import count_followers, learn_baselines
from nextaisle.evaluation.histories import build_histories
from tests.evaluation.rows import at, items, sessions

AS_OF = date(2024, 1, 31)  # with a window of 7 days the test begins on the 25th
ITEM_IDS = ("a", "b", "c", "d")


def evaluation(*assignments: str) -> Evaluation:
    return overlays.load(assignments=[f"evaluation.{assignment}" for assignment in assignments]).evaluation


def weights(pairs: DataFrame) -> dict[tuple[int, int], float]:
    return {(row["from_index"], row["item_index"]): row["weight"] for row in pairs.collect()}


@pytest.fixture(scope="module")
def histories(spark: SparkSession) -> DataFrame:
    visits = sessions(
        spark,
        ("u1", at(2), ["a", "b"]), ("u1", at(20), ["a"]),
        ("u2", at(3), ["a", "b", "c"]),
        ("u3", at(19), ["b"]), ("u3", at(24), ["b"]),
        ("u4", at(4), ["a", None, "c"]),
        ("u5", at(25), ["d", "d"]),
    )  # fmt: skip
    return build_histories(visits, items(spark, *ITEM_IDS), evaluation(), AS_OF, "UTC").cache()


def test_popularity_counts_what_came_before_the_test_and_ties_have_one_order(histories: DataFrame) -> None:
    learnt = learn_baselines(histories, len(ITEM_IDS), evaluation(), AS_OF)
    popular = learnt.popular_P.tolist()
    assert sorted(popular[:2]) == [1, 2]  # four times each: the order is that of their hashes
    assert popular[2:] == [3]  # d was not seen before the test
    assert learnt.unseen_E.tolist() == [0, 4]


def test_popular_in_the_last_seven_days_forgets_what_is_older(histories: DataFrame) -> None:
    learnt = learn_baselines(histories, len(ITEM_IDS), evaluation(), AS_OF)
    assert learnt.popular_7_days_P is not None
    assert learnt.popular_7_days_P.tolist() == [2, 1]  # b on the 19th and 24th, a on the 20th; the 18th is day 1 of 7


def test_followers_are_counted_within_a_user_and_across_visits(histories: DataFrame) -> None:
    found = weights(count_followers(histories.where("is_training"), evaluation()))
    assert found == {(1, 2): 2.0, (2, 1): 1.0, (2, 3): 1.0, (2, 2): 1.0, (1, 3): 1.0}


def test_links_are_ordered_by_strength_and_cut(histories: DataFrame) -> None:
    followers = learn_baselines(histories, len(ITEM_IDS), evaluation("neighbours=1"), AS_OF).followers
    lists = [followers.item_L[b:e].tolist() for b, e in zip(followers.offset_I1, followers.offset_I1[1:], strict=False)]
    assert lists[1] == [2]
    assert [len(found) for found in lists] == [0, 1, 1, 0, 0]


def test_items_of_like_popularity_share_a_group_and_items_nobody_bought_have_none(histories: DataFrame) -> None:
    groups = learn_baselines(histories, len(ITEM_IDS), evaluation(), AS_OF).group_I
    assert sorted(groups[[1, 2]].tolist()) == [1, 5]  # the first stands before 4 of 10 events
    assert groups[[0, 3, 4]].tolist() == [0, 9, 0]


def test_leave_one_out_learns_from_all_but_each_user_s_last_target(spark: SparkSession) -> None:
    visits = sessions(spark, ("u1", at(2), ["a", "b", "c"]), ("u2", at(3), ["a", "d"]))
    rules = evaluation("protocol=leave-one-out")
    rows = build_histories(visits, items(spark, *ITEM_IDS), rules, AS_OF, "UTC").where("is_training").collect()
    assert sorted((row["user_id"], row["item_index"]) for row in rows) == [("u1", 1), ("u1", 2), ("u2", 1), ("u2", 4)]


def test_without_times_there_is_no_popular_of_the_last_days(spark: SparkSession) -> None:
    rules = evaluation("protocol=leave-one-out")
    found = build_histories(
        sessions(spark, ("u1", at(2), ["a", "b", "c"])), items(spark, *ITEM_IDS), rules, AS_OF, "UTC"
    )
    assert learn_baselines(found, len(ITEM_IDS), rules, AS_OF).popular_7_days_P is None


def test_a_history_is_in_order_though_its_visits_overlap(spark: SparkSession) -> None:
    visits = sessions(spark, ("u", at(2, 12, 1), ["b", "c"]), ("u", at(2, 12, 0), ["a"]))
    rows = build_histories(visits, items(spark, *ITEM_IDS), evaluation(), AS_OF, "UTC").collect()
    assert [(row["item_index"], row["previous_index"], row["is_session_start"]) for row in rows] == [
        (1, None, True),
        (2, 1, True),
        (3, 2, False),
    ]


def test_a_day_is_one_of_the_shop_and_an_event_without_item_is_left_out(spark: SparkSession) -> None:
    visits = sessions(spark, ("u", at(25, 4, 59), [None, "a"]))  # 23:59 and midnight in New York
    row = build_histories(visits, items(spark, *ITEM_IDS), evaluation(), AS_OF, "America/New_York").collect()
    earlier = sessions(spark, ("u", at(25, 4, 58), [None, "a"]))
    before = build_histories(earlier, items(spark, *ITEM_IDS), evaluation(), AS_OF, "America/New_York").collect()
    assert [(r["event_day"] - 19723, r["is_training"], r["is_session_start"]) for r in (*row, *before)] == [
        (24, False, True),
        (23, True, True),
    ]


def test_an_item_that_the_vocabulary_lacks_has_index_zero(spark: SparkSession) -> None:
    visits = sessions(spark, ("u", at(2), ["unheard of"]))
    rows = build_histories(visits, items(spark, *ITEM_IDS), evaluation(), AS_OF, "UTC").collect()
    assert [row["item_index"] for row in rows] == [0]
