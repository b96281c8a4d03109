"""status, --plan and the markers of complete days, over nights of a small shop that builds events to sequences."""

import gzip
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import nightly, status
from nextaisle import call, overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import COMPLETE_DAYS, EVENTS, RECOMMENDATIONS, SESSIONS, TABLES
from nextaisle.job import Job, Night, Result, execute, planning
from nextaisle.quality.complete_days import complete_days, mark, withdraw
from nextaisle.quality.plan import plan
from nextaisle.quality.states import Logs, TableState, table_states
from nextaisle.storage.store import Store
from tests.quality.shop import DAY_1, DAY_2, at, event, recommended, write_table

SCHEMA = "user string, item string, kind string, time string"


def write_logs(root: Path, day: date, *times: str) -> None:
    """A purchase for each time, as `01T10:00`: day and time."""
    lines = [{"user": "u", "item": "a", "kind": "purchase", "time": f"2024-01-{time}:00Z"} for time in times]
    folder = root / "logs" / str(day)
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "part.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    columns = {"user_id": "user", "item_id": "item", "event_type": "kind", "event_time": "time"}
    return overlays.load(
        assignments=[
            f"store.root={tmp_path}/tables", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
            f"tracking.artifacts={tmp_path}/mlartifacts", f"source.path={tmp_path}/logs/{{date}}/*.json.gz",
            f"source.schema={SCHEMA}", *(f"source.columns.{name}={text}" for name, text in columns.items()),
        ]
    )  # fmt: skip


def build(spark: SparkSession, settings: Settings, day: date) -> None:
    for job in nightly.DAYS:
        assert execute(job, settings, spark, day, day).exit_code == 0


def states(spark: SparkSession, settings: Settings, logged: set[date], unread: set[date]) -> dict[str, TableState]:
    store = Store(spark, settings.store)
    night = Night(settings, spark, store, None, None)
    logs = Logs.of(store, logged, unread)
    last = (nightly.BUILD_EXAMPLES, *nightly.LAST_DAY)
    return {state.table.name: state for state in table_states(night, nightly.DAYS, last, logs)}


def told(state: TableState) -> tuple[set[date], set[date], set[date]]:
    return set(state.days), set(state.missing), set(state.stale)


def files_under(root: Path) -> dict[str, float]:
    return {
        str(Path(folder) / name): (Path(folder) / name).stat().st_mtime
        for folder, _, names in os.walk(root)
        for name in names
    }


@pytest.mark.slow
def test_tables_are_built_missing_or_stale_as_their_inputs_say(
    spark: SparkSession, shop: Settings, tmp_path: Path
) -> None:
    write_logs(tmp_path, DAY_1, "01T10:00")
    nothing = states(spark, shop, {DAY_1}, {DAY_1})
    assert told(nothing["events"]) == (set(), {DAY_1}, set())
    assert nothing["sessions"].changed == ("never built",)
    build(spark, shop, DAY_1)
    built = states(spark, shop, {DAY_1}, set())
    for name in ("events", "sessions", "sequences"):
        assert (told(built[name]), built[name].changed) == (({DAY_1}, set(), set()), ()), name
    assert built["events"].row_count == built["items"].row_count == 1
    assert built["sessions"].last_run is not None
    assert built["sessions"].last_run["outcome"] == "done"
    # The next day's logs bring a late event: from events on, day 2 is missing and day 1 is stale.
    write_logs(tmp_path, DAY_2, "02T10:00", "01T23:00")
    assert told(states(spark, shop, {DAY_1, DAY_2}, {DAY_2})["events"]) == ({DAY_1}, {DAY_2}, set())
    assert execute(nightly.CLEAN_EVENTS, shop, spark, DAY_2, DAY_2).exit_code == 0
    late = states(spark, shop, {DAY_1, DAY_2}, set())
    assert told(late["events"]) == ({DAY_1, DAY_2}, set(), set())
    assert (told(late["sessions"]), late["sessions"].changed) == (({DAY_1}, {DAY_2}, {DAY_1}), ("events",))
    assert (late["items"].changed, late["items"].is_up_to_date) == (("events",), False)
    # A read file that changed, and another rule.
    assert told(states(spark, shop, {DAY_1, DAY_2}, {DAY_1})["events"]) == ({DAY_1, DAY_2}, set(), {DAY_1})
    other = shop.model_copy(update={"sessions": shop.sessions.model_copy(update={"gap_minutes": 5})})
    changed = states(spark, other, {DAY_1, DAY_2}, set())["sessions"]
    assert (told(changed), changed.changed) == (({DAY_1}, {DAY_2}, {DAY_1}), ("configuration", "events"))


@pytest.mark.slow
def test_status_and_plan_say_what_a_night_would_do_and_write_nothing(
    spark: SparkSession, shop: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_logs(tmp_path, DAY_1, "01T10:00")
    build(spark, shop, DAY_1)
    write_logs(tmp_path, DAY_2, "02T10:00")
    before = files_under(tmp_path)
    assert nightly.JOB.plan is not None
    outcomes = [
        execute(planning(nightly.JOB, nightly.JOB.plan), shop, spark, None, None),
        execute(status.JOB, shop, spark, None, None),
    ]
    assert files_under(tmp_path) == before
    assert [outcome.reason for outcome in outcomes] == ["", ""]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("What nightly would do now") == 2
    steps = len(nightly.DAYS) + len(nightly.calls_of_last_day(shop, (None, None), None))
    # Day 1 has no finished night either: both days would be built.
    assert outcomes[0].rows["steps_to_run"] == outcomes[1].rows["steps_to_run"] == steps
    assert "2024-01-01 to 2024-01-02" in shown.err
    # Of day 2 all, of day 1 the checks.
    assert outcomes[0].rows["missing_days"] == 2


@pytest.mark.slow
def test_a_plan_leaves_out_what_is_done_and_follows_what_may_change(
    spark: SparkSession, shop: Settings, tmp_path: Path
) -> None:
    write_logs(tmp_path, DAY_1, "01T10:00")
    build(spark, shop, DAY_1)
    calls = [(job, DAY_1, DAY_1) for job in nightly.DAYS]

    def actions(settings: Settings) -> dict[str, str]:
        night = Night(settings, spark, Store(spark, settings.store), DAY_1, DAY_1)
        return {step.job: step.reason for step in plan(night, calls)}

    assert actions(shop) == {"clean_events": "", "build_sessions": "", "build_sequences": "", "build_profiles": ""}
    other = shop.model_copy(update={"sessions": shop.sessions.model_copy(update={"gap_minutes": 5})})
    assert [bool(reason) for reason in actions(other).values()] == [False, True, True, True]
    assert actions(other)["build_sequences"] == "sessions may change"
    write_logs(tmp_path, DAY_1, "01T11:00")
    assert actions(shop)["build_sessions"] == "events may change"


def test_logs_that_are_not_there_are_told_and_no_error(
    spark: SparkSession, shop: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = execute(status.JOB, shop, spark, None, None)
    assert (outcome.exit_code, outcome.rows["steps_to_run"], outcome.rows["tables_to_build"]) == (0, 0, 17)
    # Tables without days are missing as a whole, also one that is laid out by something else.
    shown = [line.split() for line in capsys.readouterr().err.splitlines()]
    missing = [words[1] for words in shown if "all" in words and "never" in words]
    assert missing == ["source_files", "identities", "items", "users", "evaluation_cases", "evaluations"]


def fill(spark: SparkSession, settings: Settings, *days: int) -> None:
    """Events of these days; a day that was there before changes."""
    rows = [event(f"e{datetime.now(UTC)}", "u", at(day, 10)) for day in days]
    Store(spark, settings.store).replace_days(
        EVENTS, spark.createDataFrame(rows, EVENTS.schema), date(2024, 1, min(days)), date(2024, 1, max(days))
    )


def markers(spark: SparkSession, settings: Settings) -> dict[int, datetime]:
    rows = Store(spark, settings.store).read(COMPLETE_DAYS).collect()
    return {row["complete_date"].day: row["completed_time"] for row in rows}


def test_a_day_is_marked_once_and_dated_anew_when_it_changes(spark: SparkSession, settings: Settings) -> None:
    def fresh() -> Store:
        return Store(spark, settings.store)

    fill(spark, settings, 1, 2)
    mark(fresh(), None, DAY_2)
    first = markers(spark, settings)
    assert sorted(first) == [1, 2]
    version = fresh().current_version(COMPLETE_DAYS)
    mark(fresh(), DAY_2, DAY_2)
    assert fresh().current_version(COMPLETE_DAYS) == version
    # A late event changes day 2, and day 3 has no events at all.
    fill(spark, settings, 2)
    mark(fresh(), date(2024, 1, 3), date(2024, 1, 3))
    second = markers(spark, settings)
    assert sorted(second) == [1, 2, 3]
    assert second[1] == first[1]
    assert second[2] == second[3] > first[2]
    withdraw(fresh(), DAY_2, DAY_2)
    assert complete_days(fresh()) == [DAY_1, date(2024, 1, 3)]
    version = fresh().current_version(COMPLETE_DAYS)
    withdraw(fresh(), DAY_2, DAY_2)
    assert fresh().current_version(COMPLETE_DAYS) == version
    withdraw(fresh(), None, None)
    assert complete_days(fresh()) == []


def test_markers_that_a_killed_night_took_back_come_again_with_the_next_night(
    spark: SparkSession, settings: Settings
) -> None:
    day_3 = date(2024, 1, 3)
    fill(spark, settings, 1, 2, 3)
    execute(Job("nightly", lambda night: Result()), settings, spark, DAY_1, day_3)
    mark(Store(spark, settings.store), DAY_1, day_3)
    withdraw(Store(spark, settings.store), DAY_2, day_3)
    mark(Store(spark, settings.store), day_3, day_3)
    assert complete_days(Store(spark, settings.store)) == [DAY_1, DAY_2, day_3]


def test_a_marker_names_the_versions_that_hold_its_day(spark: SparkSession, settings: Settings) -> None:
    fill(spark, settings, 1)
    write_table(spark, settings, RECOMMENDATIONS, [recommended("u", 1, "a")])
    mark(Store(spark, settings.store), DAY_1, DAY_1)
    row = Store(spark, settings.store).read(COMPLETE_DAYS).collect()[0]
    assert row["versions"] == {"events": 1, "recommendations": 0}


@pytest.mark.parametrize(("fails", "marked"), [(True, []), (False, [DAY_1])])
def test_a_marker_goes_before_its_day_is_written_and_stays_where_nothing_is_to_do(
    fails: bool, marked: list[date], spark: SparkSession, settings: Settings
) -> None:
    def breaks_down(night: Night) -> Result:
        assert complete_days(night.store.fresh()) == []
        raise ZeroDivisionError

    def writes_nothing(night: Night) -> Result:
        return Result()

    fill(spark, settings, 1)
    mark(Store(spark, settings.store), DAY_1, DAY_1)
    night = Night(settings, spark, Store(spark, settings.store), DAY_1, DAY_1)
    job = (
        Job("job", breaks_down, writes=(SESSIONS,))
        if fails
        else Job("job", writes_nothing, writes=(TABLES["examples"],))
    )
    if fails:
        with pytest.raises(nightly.StepError):
            nightly._step(job, night, DAY_1, DAY_1)
    else:
        nightly._step(job, night, DAY_1, DAY_1)
    assert complete_days(Store(spark, settings.store)) == marked


def test_only_nightly_knows_the_flag_plan() -> None:
    assert call.parser("nightly", bool(nightly.JOB.plan)).parse_args(["--plan"]).plan
    with pytest.raises(SystemExit):
        call.parser("clean_events", bool(nightly.CLEAN_EVENTS.plan)).parse_args(["--plan"])
