from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from nextaisle.evaluation import judging
from nextaisle.evaluation.cases import Protocol
from nextaisle.evaluation.judging import Judgement, judge_users, last_cases, value_names
from nextaisle.evaluation.rankers import GROUPS, Baselines, Links

PURCHASE = 6
KS = (2,)
PROTOCOL = Protocol("time-window", last_known=10, last_test=17, target_types=(PURCHASE,), max_context=1000)
NO_LINKS = Links(np.zeros(7, np.int64), np.zeros(0, np.int32), np.zeros(0))
# Of five items 1 is the most popular and 4 and 5 were never bought.
BASELINES = Baselines(
    popular_P=np.array([1, 2, 3], np.int32), popular_7_days_P=np.array([3], np.int32),
    popularity_rank_I=np.array([5, 0, 1, 2, 3, 4]), followers=NO_LINKS, neighbours=NO_LINKS, target_types=(PURCHASE,),
    unseen_E=np.array([0, 4, 5]), tie_key_I=np.arange(6), group_I=np.array([0, 1, 5, 8, 0, 0], np.int8),
)  # fmt: skip


def events(*rows: tuple[str, int, int]) -> pa.Table:
    """(user, item, day) of purchases."""
    users, items, days = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": pa.array(users),
            "item_index": pa.array(items, pa.int32()),
            "event_type_index": pa.array([PURCHASE] * len(rows), pa.int32()),
            "is_session_start": pa.array([True] * len(rows)),
            "event_day": pa.array(days, pa.int32()),
        }
    )


def judged(*rows: tuple[str, int, int], protocol: Protocol = PROTOCOL) -> dict[tuple[str, str], dict[str, object]]:
    batches = judge_users(events(*rows), Judgement(protocol, KS, False, BASELINES, {}))
    return {(row["user_id"], row["model"]): row for batch in batches for row in batch.to_pylist()}


def value(row: dict[str, object], name: str) -> float:
    values = row["values"]
    assert isinstance(values, Sequence)
    return float(values[value_names(KS).index(name)])


def test_every_baseline_is_judged_on_every_user_with_a_target() -> None:
    found = judged(("u", 2, 9), ("u", 2, 12), ("v", 3, 9), ("w", 1, 11))
    models = {"popular", "popular_7_days", "own_frequent", "markov", "item_knn"}
    assert set(found) == {(user, model) for user in ("u", "w") for model in models}
    assert found["u", "own_frequent"]["item_indices"] == [2, 1]
    assert found["u", "popular_7_days"]["item_indices"] == [3, 1]
    assert value(found["u", "own_frequent"], "mrr_at_2") == 1.0
    assert value(found["u", "popular"], "mrr_at_2") == 0.5
    assert value(found["w", "own_frequent"], "mrr_at_2") == 1.0  # nothing is known of w: the popular


def test_an_item_that_training_never_saw_is_a_miss() -> None:
    assert value(judged(("u", 2, 9), ("u", 4, 12))["u", "popular"], "recall_at_2") == 0.0


def test_several_cases_of_a_user_make_one_row_with_their_mean() -> None:
    after = Protocol("time-next", 10, 17, (PURCHASE,), 1000)
    row = judged(("u", 1, 9), ("u", 1, 11), ("u", 5, 12), protocol=after)["u", "popular"]
    assert (row["cases"], value(row, "hr_at_2")) == (2, 0.5)


def test_shares_of_popularity_groups_are_of_the_list_and_of_the_targets() -> None:
    row = judged(("u", 2, 9), ("u", 2, 12), ("u", 4, 12))["u", "popular"]
    listed = [value(row, f"listed_share_{group}") for group in range(1, GROUPS + 1)]
    targets = [value(row, f"target_share_{group}") for group in range(1, GROUPS + 1)]
    assert (listed[0], listed[4], sum(listed)) == (0.5, 0.5, 1.0)
    assert (targets[4], sum(targets)) == (0.5, 0.5)


def test_blocks_of_cases_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"u{number}", number % 5 + 1, day) for number in range(9) for day in (9, 12)]
    whole = judged(*rows)
    monkeypatch.setattr(judging, "CASES_AT_ONCE", 2)
    assert judged(*rows) == whole


def test_a_sample_is_the_user_s_last_case() -> None:
    after = Protocol("time-next", 10, 17, (PURCHASE,), 1000)
    found = list(last_cases(events(("u", 1, 9), ("u", 2, 11), ("u", 3, 12), ("v", 1, 9)), after))
    assert found == [("u", [1, 2], [3])]
