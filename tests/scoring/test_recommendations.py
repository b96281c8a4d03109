from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import score_users as job
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, GateError, InputError
from nextaisle.contract.tables import ITEMS, RECOMMENDATIONS, SEQUENCES, SESSIONS
from nextaisle.job import execute
from nextaisle.scoring.champion import load_champion
from nextaisle.scoring.recommendations import score_users
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker

MakeRows = Callable[..., DataFrame]
DAY = date(2024, 1, 10)


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    parts = {name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    return settings.model_copy(update=parts)


def lists_of(rows: DataFrame) -> dict[str, str]:
    """{"u": "edc"}: items in order of their ranks, which are 1, 2, ..."""
    lists: dict[str, str] = {}
    for row in rows.orderBy("user_id", "rank").collect():
        lists[row.user_id] = lists.get(row.user_id, "") + row.item_id
        assert row["rank"] == len(lists[row.user_id])
    return lists


def test_everyone_gets_k_items_and_strangers_what_is_popular(
    spark: SparkSession, trained: Settings, sequences: MakeRows, sessions: MakeRows, items: DataFrame,
    tmp_path: Path,
) -> None:  # fmt: skip
    spark.createDataFrame([(" known ",), ("stranger",), ("stranger",), ("",), (None,)], "id string").write.parquet(
        f"{tmp_path}/users"
    )
    users = {"path": f"{tmp_path}/users", "columns": {"user_id": "id"}}
    wanted = changed(trained, scoring={"k": 3, "not_for_sale": ("d", "gone")}, users=users)
    histories = sequences(("known", 3, "ab"), ("newcomer", 3, "f"))
    rows = score_users(wanted, histories, sessions(("x", 9, "abb"), ("x", 8, "d")), items, DAY)
    assert lists_of(rows)["known"] == "ecb"
    assert lists_of(rows)["stranger"][:2] == lists_of(rows)["newcomer"][:2] == "ba"
    assert lists_of(rows)["stranger"] == lists_of(rows)["newcomer"]
    reasons = {(row.user_id, row.reason) for row in rows.collect()}
    assert reasons == {("known", "model"), ("newcomer", "popular"), ("stranger", "popular")}
    assert {(row.score_date, row.variant, row.model_version) for row in rows.collect()} == {
        (DAY, "default", "nextaisle/1")
    }


def test_a_history_of_event_types_that_are_none_of_ours_is_scored_too(
    trained: Settings, sequences: MakeRows, sessions: MakeRows, items: DataFrame
) -> None:
    wanted = changed(trained, scoring={"k": 3})
    rows = score_users(wanted, sequences(("u", 3, "ab"), event_type="stare"), sessions(("u", 9, "ab")), items, DAY)
    assert (lists_of(rows), {row.reason for row in rows.collect()}) == ({"u": "edc"}, {"model"})


def test_items_seen_long_before_the_sequence_begins_are_left_out_too(
    trained: Settings, sequences: MakeRows, sessions: MakeRows, items: DataFrame
) -> None:
    """The sequence has lost e and d, seen on the first day; c was seen on the day after the scored one."""
    visits = sessions(("u", 1, "ed"), ("u", 11, "c"), event_type="view")
    wanted = changed(trained, scoring={"k": 2, "exclude": "seen"})
    rows = score_users(wanted, sequences(("u", 5, "b"), capped=True), visits, items, DAY)
    assert lists_of(rows) == {"u": "ca"}


def test_without_a_champion_nothing_is_scored(
    settings: Settings, items: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GateError, match="run train_model and then evaluate_model"):
        load_champion(settings.tracking, items)
    monkeypatch.setattr(Tracker, "champion", lambda self: None)
    with pytest.raises(GateError, match=r"http://\*\*\*@host/"):
        load_champion(changed(settings, tracking={"uri": "http://ann:hunter2@host/"}).tracking, items)


def test_a_champion_with_another_vocabulary_is_refused(trained: Settings, items: DataFrame) -> None:
    with pytest.raises(GateError, match="learned other items"):
        load_champion(trained.tracking, items.where("item_id <> 'c'"))


def test_a_champion_may_know_fewer_items_than_the_table(trained: Settings, items: DataFrame) -> None:
    assert load_champion(trained.tracking, items).model_version == "nextaisle/1"


def test_a_list_of_an_old_day_knows_nothing_of_later_items(
    trained: Settings, sequences: MakeRows, sessions: MakeRows, items: DataFrame
) -> None:
    known = items.withColumn(
        "first_seen_date", F.when(F.col("item_id").isin("e", "b"), DAY).otherwise(date(2024, 1, 1))
    )
    rows = score_users(changed(trained, scoring={"k": 9}), sequences(("u", 3, "a"), ("v", 3, "f")), sessions(), known,
                       date(2024, 1, 9))  # fmt: skip
    assert {user: "".join(sorted(found)) for user, found in lists_of(rows).items()} == {"u": "acdf", "v": "acdf"}


def test_listed_users_that_cannot_be_read_are_named(
    spark: SparkSession, trained: Settings, sequences: MakeRows, sessions: MakeRows, items: DataFrame,
    tmp_path: Path,
) -> None:  # fmt: skip
    def score(**users: object) -> None:
        score_users(changed(trained, users=users), sequences(("u", 3, "a")), sessions(), items, DAY)

    with pytest.raises(InputError, match="nowhere"):
        score(path=f"{tmp_path}/nowhere", columns={"user_id": "id"})
    spark.createDataFrame([("u",)], "id string").write.parquet(f"{tmp_path}/users")
    with pytest.raises(ConfigurationError, match="number"):
        score(path=f"{tmp_path}/users", columns={"user_id": "number"})


def test_the_job_writes_a_day_once(
    spark: SparkSession, trained: Settings, store: Store, sequences: MakeRows, sessions: MakeRows,
    items: DataFrame,
) -> None:  # fmt: skip
    store.merge(ITEMS, items)
    store.merge(SEQUENCES, sequences(("u", 3, "a"), ("v", 10, "f")))
    store.merge(SESSIONS, sessions(("u", 3, "a"), ("v", 10, "f")))
    wanted = changed(trained, scoring={"k": 4})
    first = execute(job.JOB, wanted, spark, None, None)
    assert (first.outcome, first.rows) == ("done", {"users": 2, "recommendations": 8, "popular_users": 1})
    again = execute(job.JOB, wanted, spark, None, None)
    assert (again.outcome, again.versions) == ("unchanged", first.versions)
    assert lists_of(store.fresh().read(RECOMMENDATIONS))["u"] == "edcb"


@pytest.mark.slow
def test_another_arm_of_an_experiment_is_scored_beside_the_first(
    spark: SparkSession, trained: Settings, store: Store, sequences: MakeRows, sessions: MakeRows,
    items: DataFrame,
) -> None:  # fmt: skip
    store.merge(ITEMS, items)
    store.merge(SEQUENCES, sequences(("u", 3, "a")))
    store.merge(SESSIONS, sessions(("u", 3, "a")))
    for k, variant in ((4, "default"), (2, "short"), (3, "default")):
        outcome = execute(job.JOB, changed(trained, scoring={"k": k, "variant": variant}), spark, DAY, DAY)
        assert outcome.rows == {"users": 1, "recommendations": k, "popular_users": 0}, outcome.reason
    rows = store.fresh().read(RECOMMENDATIONS)
    assert lists_of(rows.where("variant = 'default'")) == {"u": "edc"}
    assert lists_of(rows.where("variant = 'short'")) == {"u": "ed"}
