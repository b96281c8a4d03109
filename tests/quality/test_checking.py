"""check_tables on a good shop, and on one in which every check has its bad row."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import check_tables
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import DATA_PROFILES, DATA_QUALITY, TABLES
from nextaisle.job import Outcome, execute
from nextaisle.quality.suites import SUITES
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker
from tests.quality.shop import (
    DAY_1,
    DAY_2,
    at,
    category_price,
    edge,
    evaluated,
    event,
    example,
    good_tables,
    item,
    link,
    profile,
    recommended,
    refused,
    sequence,
    session,
    source_file,
    user,
    user_case,
    write_table,
    write_tables,
)

Samples = dict[tuple[str, str], set[str]]
NAN = float("nan")

# Each check, a bad row of its table, and the key by which it is named.
BAD: list[tuple[str, str, list[dict[str, Any]], str]] = [
    ("source_files", "not_null", [source_file("n", DAY_2, 1, 1, size=None)], "path=n, size=null"),
    ("source_files", "reconciled_records", [source_file("r", DAY_2, 5, 1)], "path=r"),
    ("source_files", "accepted_range_counts", [source_file("c", DAY_2, 0, -1, rejected_count=1)], "path=c"),
    ("source_files", "unique_key", [source_file("t", DAY_2, 1, 1)] * 2, "path=t"),
    ("rejected_events", "not_null", [refused("f1", "n", reason=None)], "path=f1, record_hash=n"),
    ("rejected_events", "accepted_values_reason", [refused("f1", "r", reason="mood")], "path=f1, record_hash=r"),
    ("rejected_events", "reconciled_source_files", [refused("nowhere", "h")], "path=nowhere"),
    ("rejected_events", "unique_key", [refused("f1", "t")] * 2, "path=f1, record_hash=t, ordinal=1"),
    ("events", "not_null", [event("n", "x", at(2, 1), event_type=None)], "event_date=2024-01-02, event_id=n"),
    ("events", "not_null_item_id", [event("i", "x", at(2, 1), None, event_type="view")], "event_id=i"),
    ("events", "accepted_values_event_type", [event("k", "x", at(2, 1), None, event_type="stare")], "event_id=k"),
    ("events", "day_of_event_time", [event("d", "x", at(3, 1), event_date=DAY_2)], "event_id=d"),
    ("events", "accepted_range_price", [event("p", "x", at(2, 1), price=Decimal(-1))], "event_id=p"),
    ("events", "accepted_range_rating", [event("r", "x", at(2, 1), rating=NAN)], "event_id=r"),
    ("events", "accepted_range_position", [event("o", "x", at(2, 1), position=0)], "event_id=o"),
    ("events", "unique_key", [event("t", "x", at(2, 1))] * 2, "event_date=2024-01-02, event_id=t"),
    ("events", "reconciled_session_counts", [event("m", "no_session", at(2, 1))], "user_id=no_session"),
    ("events", "reconciled_sequences", [event("q", "no_sequence", at(2, 1))], "user_id=no_sequence"),
    ("events", "reconciled_sessions", [event("s", "other_item", at(2, 1))], "user_id=other_item"),
    ("events", "reconciled_sequence_events", [], "user_id=other_item"),
    ("sessions", "reconciled", [session("other", "other_item", (at(2, 1), "b"))], ""),
    ("sequences", "reconciled", [sequence("other_item", 2, (at(2, 1), "b"))], ""),
    ("sessions", "not_null", [session("n", "s1", (at(2, 1), "a"), start_time=None)], "session_id=n"),
    ("sessions", "accepted_range_event_count", [session("c", "s2", (at(2, 1), "a"), event_count=0)], "session_id=c"),
    ("sessions", "equal_lengths", [session("l", "s3", (at(2, 1), "a"), prices=[])], "session_id=l"),
    ("sessions", "accepted_range_counts", [session("z", "s12", (at(2, 1), "a"), counts=[0])], "session_id=z"),
    ("sessions", "accepted_values_event_types", [session("k", "s4", (at(2, 1), "a"), event_types=["stare"])], "=k"),
    ("sessions", "accepted_values_event_types", [session("e", "s5", (at(2, 1), "a"), event_types=[None])], "=e"),
    ("sessions", "ascending_event_times", [session("a", "s6", (at(2, 3), "a"), (at(2, 2), "a"))], "session_id=a"),
    ("sessions", "ends_of_event_times", [session("b", "s7", (at(2, 1), "a"), end_time=at(2, 2))], "session_id=b"),
    ("sessions", "day_of_start_time", [session("d", "s8", (at(1, 1), "a"), session_date=DAY_2)], "session_id=d"),
    ("sessions", "accepted_range_duration", [session("h", "s9", (at(1, 1), "a"), (at(2, 1), "a"))], "session_id=h"),
    ("sessions", "unique_key", [session("t", "s10", (at(2, 1), "a"))] * 2, "session_id=t"),
    (
        "sessions",
        "no_overlap",
        [
            session("long", "s11", (at(1, 22), "a"), (at(2, 5), "a")),
            session("in1", "s11", (at(2, 1), "a")),
            session("in2", "s11", (at(2, 5), "a")),
            session("after", "s11", (at(2, 6), "a")),
            session("another", "s11", (at(2, 2), "a"), source_session_id="basket"),
        ],
        "session_id=in1, user_id=s11 | session_id=in2, user_id=s11",
    ),
    ("sequences", "not_null", [sequence("n", 2, (at(2, 1), "a"), event_count=None)], "user_id=n"),
    ("sequences", "equal_lengths", [sequence("l", 2, (at(2, 1), "a"), prices=[])], "user_id=l"),
    ("sequences", "accepted_range_length", [sequence("c", 2, (at(2, 1), "a"), event_count=0)], "user_id=c"),
    ("sequences", "accepted_values_event_types", [sequence("k", 2, (at(2, 1), "a"), event_types=["x"])], "user_id=k"),
    ("sequences", "ascending_event_times", [sequence("a", 2, (at(2, 3), "a"), (at(2, 2), "a"))], "user_id=a"),
    ("sequences", "day_of_last_event", [sequence("d", 2, (at(1, 1), "a"))], "user_id=d"),
    ("sequences", "unique_key", [sequence("t", 2, (at(2, 1), "a"))] * 2, "user_id=t, as_of_date=2024-01-02"),
    (
        "sequences",
        "relationships_items",
        [
            sequence("i", 2, (at(2, 1), "a"), item_ids=["stranger"], item_indices=[9]),
            sequence("j", 2, (at(2, 1), "a"), item_indices=[2]),
        ],
        "item_id=a, item_index=2 | item_id=stranger, item_index=9",
    ),
    ("items", "not_null", [item("n", 3, first_seen_date=None)], "item_id=n"),
    ("items", "accepted_range_item_index", [item("zero", 0)], "item_id=zero"),
    ("items", "ascending_dates", [item("d", 4, first_seen_date=date(2024, 2, 1))], "item_id=d"),
    ("items", "accepted_range_price", [item("p", 5, price=Decimal(-1))], "item_id=p"),
    ("items", "unique_key", [item("t", 6)] * 2, "item_id=t, valid_from=1970-01-01"),
    ("items", "unique_item_index", [item("x", 7), item("y", 7)], "item_index=7"),
    ("items", "constant_item_index", [item("m", 8), item("m", 9, valid_from=DAY_2)], "item_id=m"),
    ("items", "no_gaps_item_index", [item("far", 20)], "last_index=20, index_count=11"),
    ("identities", "not_null", [link("n", None)], "id=n"),
    ("identities", "unique_key", [link("t", "ann"), link("t", "bob")], "id=t, linked_date=1970-01-01"),
    ("users", "not_null", [user("n", valid_from=None)], "user_id=n"),
    ("users", "unique_key", [user("t")] * 2, "user_id=t, valid_from=1970-01-01"),
    ("user_profiles", "not_null", [profile("n", 2, hour_counts=None)], "user_id=n"),
    ("user_profiles", "day_of_last_event", [profile("d", 2, last_event_time=at(1, 1))], "user_id=d"),
    ("user_profiles", "ascending_dates", [profile("a", 2, first_event_date=date(2024, 1, 3))], "user_id=a"),
    ("user_profiles", "accepted_range_days", [profile("k", 2, active_day_count=2)], "user_id=k"),
    ("user_profiles", "accepted_range_purchases", [profile("b", 2, repeat_purchase_count=1)], "user_id=b"),
    ("user_profiles", "reconciled_purchases", [profile("c", 2, event_counts={"purchase": 1})], "user_id=c"),
    ("user_profiles", "accepted_range_share", [profile("s", 2, repeat_share=NAN)], "user_id=s"),
    ("user_profiles", "accepted_range_funnel", [profile("f", 2, carted_count=2)], "user_id=f"),
    ("user_profiles", "equal_lengths", [profile("l", 2, weekday_counts=[1])], "user_id=l"),
    ("user_profiles", "reconciled_hours", [profile("h", 2, weekday_counts=[2] + [0] * 6)], "user_id=h"),
    ("user_profiles", "accepted_range_entropy", [profile("e", 2, category_entropy=NAN)], "user_id=e"),
    ("user_profiles", "reconciled_sessions", [profile("nobody", 2)], "user_id=nobody"),
    ("user_profiles", "unique_key", [profile("t", 2)] * 2, "user_id=t, as_of_date=2024-01-02"),
    ("category_prices", "not_null", [category_price("n", money=None)], "category=n"),
    ("category_prices", "accepted_range_pieces", [category_price("p", pieces=Decimal(0))], "category=p"),
    ("category_prices", "unique_key", [category_price("t")] * 2, "category=t, event_date=2024-01-01"),
    ("item_graph", "not_null", [edge("a", "b", distance=9, pair_count=None)], "distance=9"),
    ("item_graph", "accepted_range_pair_count", [edge("a", "b", distance=8, pair_count=0)], "distance=8"),
    ("item_graph", "accepted_values_kind", [edge("b", "a", kind="co_purchase", distance=0)], "from_item_id=b"),
    ("item_graph", "relationships_items", [edge("a", "stranger")], "item_id=stranger"),
    ("item_graph", "unique_key", [edge("a", "b", distance=7)] * 2, "distance=7"),
    ("examples", "not_null", [example(10, split=None)], "example_id=10, split=null"),
    ("examples", "accepted_values_split", [example(11, split="holdout")], "example_id=11"),
    ("examples", "equal_lengths", [example(12, target_indices=[2])], "example_id=12"),
    ("examples", "accepted_range_length", [example(13, length=3)], "example_id=13"),
    ("examples", "relationships_items", [example(14, item_indices=[21, 0])], "example_id=14"),
    ("examples", "relationships_target_items", [example(15, target_indices=[0, 0])], "example_id=15"),
    ("examples", "unique_key", [example(16)] * 2, "example_id=16"),
    (
        "recommendations",
        "not_null",
        [recommended("u", 3, "x", model_version=None)],
        "user_id=u, variant=default, rank=3",
    ),
    ("recommendations", "no_gaps_rank", [recommended("g", 2, "a")], "user_id=g, variant=default, rank=2"),
    ("recommendations", "descending_score", [recommended("d", 1, "a", 1), recommended("d", 2, "b", 2)], "user_id=d"),
    ("recommendations", "accepted_range_score", [recommended("s", 1, "a", NAN)], "user_id=s"),
    ("recommendations", "accepted_values_reason", [recommended("r", 1, "a", reason="mood")], "user_id=r"),
    ("recommendations", "unique_key", [recommended("t", 1, "a"), recommended("t", 1, "b")], "user_id=t"),
    ("recommendations", "unique_item_id", [recommended("w", 1, "a"), recommended("w", 2, "a")], "user_id=w"),
    ("recommendations", "relationships_items", [recommended("v", 2, "stranger")], "item_id=stranger"),
    ("recommendations", "relationships_users", [recommended("stranger", 1, "a")], "user_id=stranger"),
    ("evaluations", "not_null", [evaluated("n", cases=None)], "model=n"),
    ("evaluations", "accepted_range_value", [evaluated("v", low=0.55)], "model=v"),
    ("evaluations", "accepted_range_cases", [evaluated("c", cases=0)], "model=c"),
    ("evaluations", "unique_key", [evaluated("t")] * 2, "model=t"),
    ("evaluation_cases", "not_null", [user_case("n", model="other", cases=None)], "user_id=n"),
    ("evaluation_cases", "accepted_range_cases", [user_case("c", model="other", cases=0)], "user_id=c"),
    ("evaluation_cases", "accepted_range_metrics", [user_case("m", metrics={"ndcg_at_10": NAN})], "user_id=m"),
    ("evaluation_cases", "unique_key", [user_case("t", model="other")] * 2, "user_id=t"),
    ("evaluation_cases", "reconciled_evaluations", [user_case("x", model="candidate")], "model=candidate"),
]
CHECKS = {(suite.table.name, each.name) for suite in SUITES for each in suite.expectations}
WARNINGS = {
    (suite.table.name, each.name) for suite in SUITES for each in suite.expectations if each.severity == "warning"
}


def settings_in(folder: Path, *assignments: str) -> Settings:
    users = folder / "users.csv"
    users.write_text("id\nlisted\n")
    return overlays.load(
        assignments=[
            f"store.root={folder}/tables", f"tracking.uri=sqlite:///{folder}/mlflow.db",
            f"tracking.artifacts={folder}/mlartifacts", f"users.path={users}", "users.format=csv",
            "users.options.header='true'", "users.columns.user_id=id", "quality.sample_rows=50", *assignments,
        ]
    )  # fmt: skip


def run(spark: SparkSession, settings: Settings, first: date | None = None, last: date | None = None) -> Outcome:
    return execute(check_tables.JOB, settings, spark, first, last or first)


def quality(spark: SparkSession, settings: Settings) -> DataFrame:
    return Store(spark, settings.store).read(DATA_QUALITY)


@pytest.fixture(scope="module")
def good(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_in(tmp_path_factory.mktemp("good"))
    write_tables(spark, settings, good_tables())
    return settings


@pytest.fixture(scope="module")
def good_run(spark: SparkSession, good: Settings) -> Outcome:
    return run(spark, good)


@pytest.fixture(scope="module")
def bad(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    tables = good_tables()
    for table, _, rows, _ in BAD:
        tables[table] += rows
    settings = settings_in(tmp_path_factory.mktemp("bad"))
    write_tables(spark, settings, tables)
    return settings


@pytest.fixture(scope="module")
def bad_run(spark: SparkSession, bad: Settings) -> Outcome:
    return run(spark, bad)


@pytest.fixture(scope="module")
def samples(spark: SparkSession, bad: Settings, bad_run: Outcome) -> Iterator[Samples]:
    """What data_quality names, of every day together."""
    found: Samples = {}
    for row in quality(spark, bad).where("outcome = 'failed'").collect():
        found.setdefault((row["table_name"], row["check_name"]), set()).update(row["sample"])
    yield found


def test_a_good_shop_passes_every_check(spark: SparkSession, good: Settings, good_run: Outcome) -> None:
    assert (good_run.exit_code, good_run.reason) == (0, "")
    rows = quality(spark, good).collect()
    assert [row for row in rows if row["outcome"] == "failed"] == []
    assert {(row["table_name"], row["check_name"]) for row in rows if row["outcome"] == "passed"} >= CHECKS
    assert {row["value"] for row in rows if row["outcome"] == "passed"} == {0.0}


def test_every_check_has_its_bad_row() -> None:
    assert {(table, check) for table, check, _, _ in BAD} - {
        (name, "reconciled") for name in ("sessions", "sequences")
    } == CHECKS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "check", "key"), [(table, check, key) for table, check, _, key in BAD if key], ids=lambda text: text
)
def test_a_check_fails_on_its_bad_rows_and_names_them(table: str, check: str, key: str, samples: Samples) -> None:
    named = samples[table, check]
    for each in key.split(" | "):
        assert any(each in name for name in named), named
    if check == "no_overlap":
        # The same session twice is one that overlaps; what lies apart, or in another source session, does not.
        assert named == {"session_id=in1, user_id=s11", "session_id=in2, user_id=s11", "session_id=t, user_id=s10"}


@pytest.mark.slow
def test_good_rows_beside_bad_ones_are_not_named(samples: Samples) -> None:
    assert samples["events", "accepted_values_event_type"] == {
        "event_date=2024-01-02, event_id=k", "event_date=2024-01-02, event_id=n",
    }  # fmt: skip
    # Nobody knows of a stare whether it is at an item.
    assert samples["events", "not_null_item_id"] == {"event_date=2024-01-02, event_id=i"}
    assert samples["recommendations", "relationships_users"].isdisjoint({"user_id=u", "user_id=v", "user_id=listed"})
    assert "user_id=u" not in set().union(*(samples["events", f"reconciled_{n}"] for n in ("sessions", "sequences")))


@pytest.mark.slow
def test_errors_end_with_exit_code_4_after_the_results_were_written(
    spark: SparkSession, bad: Settings, bad_run: Outcome
) -> None:
    assert (bad_run.exit_code, bad_run.outcome) == (4, "failed")
    assert "events.not_null on 2024-01-02: found 1 of" in bad_run.reason
    assert "event_date=2024-01-02, event_id=n" in bad_run.reason
    failed = quality(spark, bad).where("outcome = 'failed'").collect()
    assert {(row["table_name"], row["check_name"]) for row in failed} >= CHECKS
    assert {(r["table_name"], r["check_name"]) for r in failed if r["severity"] == "warning"} == WARNINGS
    assert Tracker(bad.tracking).find("job", "check_tables")


@pytest.mark.slow
def test_the_same_again_commits_nothing_and_makes_no_second_run_in_mlflow(
    spark: SparkSession, good: Settings, good_run: Outcome
) -> None:
    before = versions(spark, good)
    assert run(spark, good).outcome == "unchanged"
    other_words = run(spark, good, DAY_1, DAY_2)
    assert (other_words.outcome, other_words.tracking_run_id) == ("done", good_run.tracking_run_id)
    assert versions(spark, good) == before


@pytest.mark.slow
def test_the_two_halves_of_a_night_are_unchanged_until_other_rules_wrote_over_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    write_tables(spark, settings, good_tables())

    def night(settings: Settings) -> list[str]:
        halves = (check_tables.CHECK_DATA, check_tables.CHECK_LISTS)
        return [execute(half, settings, spark, None, None).outcome for half in halves]

    assert night(settings) == ["done", "done"]
    assert night(settings) == ["unchanged", "unchanged"]
    other = settings_in(tmp_path, "quality.severities={'events.unique_key'='off'}")
    assert execute(check_tables.CHECK_DATA, other, spark, None, None).outcome == "done"
    assert night(settings) == ["done", "done"]


def versions(spark: SparkSession, settings: Settings) -> dict[str, int | None]:
    store = Store(spark, settings.store)
    return {name: store.current_version(table) for name, table in TABLES.items() if name != "job_runs"}


def test_a_days_histograms_are_kept(spark: SparkSession, good: Settings, good_run: Outcome) -> None:
    rows = Store(spark, good.store).read(DATA_PROFILES).where("profile_date = DATE'2024-01-02'").collect()
    assert {(r["table_name"], r["column_name"], r["bin"], r["row_count"]) for r in rows} == {
        ("events", "event_type", "search", 1), ("events", "event_type", "view", 2),
        ("events", "category", "A", 1), ("events", "category", "B", 1), ("events", "category", "unknown", 1),
        ("events", "events_per_user", "1", 1), ("events", "events_per_user", "2-3", 1),
        ("sessions", "event_count", "2-3", 1),
        ("recommendations", "reason", "model", 2), ("recommendations", "reason", "popular", 1),
    }  # fmt: skip


@pytest.mark.slow
def test_a_day_alone_reads_that_day_and_later_also_what_changed_since(spark: SparkSession, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, "quality.severities={'sessions.equal_lengths'='warning'}")
    tables = good_tables()
    # Without an item, so nothing that sequences should hold.
    tables["sessions"].append(session("l", "u", (at(1, 20), None), prices=[]))
    tables["events"].append(event("e7", "u", at(1, 20), None))
    write_tables(spark, settings, tables)

    def failed() -> set[tuple[date, str]]:
        return {
            (r["check_date"], r["check_name"]) for r in quality(spark, settings).where("outcome = 'failed'").collect()
        }

    outcome = run(spark, settings, DAY_2)
    assert (outcome.exit_code, outcome.first, outcome.last) == (0, DAY_2, DAY_2)
    assert failed() == set()
    write_table(spark, settings, TABLES["sessions"], tables["sessions"])
    outcome = run(spark, settings, DAY_2)
    assert (outcome.exit_code, outcome.first, outcome.last) == (0, DAY_1, DAY_2), outcome.reason
    assert outcome.rows["sessions_warnings"] == 1
    assert failed() == {(DAY_1, "equal_lengths")}


@pytest.mark.slow
def test_a_check_that_is_turned_off_is_not_made_and_an_unknown_one_is_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_tables(spark, settings_in(tmp_path), {"items": [item("far", 20)]})
    assert run(spark, settings_in(tmp_path), DAY_2).exit_code == 4
    off = settings_in(tmp_path, "quality.severities={'items.no_gaps_item_index'='off'}")
    assert run(spark, off, DAY_2).exit_code == 0
    wrong = run(spark, settings_in(tmp_path, "quality.severities={'items.no_gap_item_index'='off'}"), DAY_2)
    assert (wrong.exit_code, "'items.no_gaps_item_index'" in wrong.reason) == (2, True)
