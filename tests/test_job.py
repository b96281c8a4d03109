import argparse
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyarrow import RecordBatch
from pyspark.sql import SparkSession

from nextaisle import call
from nextaisle import job as jobs
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, GateError, InputError
from nextaisle.contract.tables import JOB_RUNS, SEQUENCES
from nextaisle.job import Job, Night, Outcome, Result, execute
from nextaisle.storage.store import Store

DAY = date(2024, 1, 1)


def write_one(night: Night) -> Result:
    rows = [("u", DAY, 1, ["a"], [1], ["view"], [datetime(2024, 1, 1, tzinfo=UTC)], [None], [True])]
    night.store.merge(SEQUENCES, night.spark.createDataFrame(rows, SEQUENCES.schema))
    return Result({"rows": 1}, "run")


WRITE_ONE = Job(name="write_one", run=write_one, writes=(SEQUENCES,), sections=("sessions",))


def refuse(night: Night) -> Result:
    raise GateError("too many records were refused")


def break_down(night: Night) -> Result:
    raise ZeroDivisionError("oh, at http://ann:hunter2@host/")


def test_a_job_with_the_same_inputs_has_nothing_to_do(spark: SparkSession, settings: Settings) -> None:
    outcomes = [execute(WRITE_ONE, settings, spark, DAY, DAY) for _ in range(2)]
    assert [outcome.outcome for outcome in outcomes] == ["done", "unchanged"]
    assert outcomes[0].rows == outcomes[1].rows == {"rows": 1}
    assert outcomes[1].tracking_run_id == "run"


def test_a_job_runs_again_when_its_configuration_or_its_tables_changed(
    spark: SparkSession, settings: Settings, store: Store
) -> None:
    execute(WRITE_ONE, settings, spark, DAY, DAY)
    other = settings.model_copy(update={"sessions": settings.sessions.model_copy(update={"gap_minutes": 5})})
    assert execute(WRITE_ONE, other, spark, DAY, DAY).outcome == "done"
    store.replace_days(SEQUENCES, spark.createDataFrame([], SEQUENCES.schema), DAY, DAY)
    assert execute(WRITE_ONE, settings, spark, DAY, DAY).outcome == "done"
    assert store.fresh().read(SEQUENCES).count() == 1


@pytest.mark.parametrize(("run", "exit_code", "reason"), [(refuse, 4, "too many"), (break_down, 10, "ZeroDivision")])
def test_a_failed_job_says_why_and_is_recorded(
    run: "jobs.Callable[[Night], Result]", exit_code: int, reason: str, spark: SparkSession, settings: Settings
) -> None:
    outcome: Outcome = execute(Job(name="failing", run=run), settings, spark, DAY, DAY)
    assert (outcome.outcome, outcome.exit_code) == ("failed", exit_code)
    recorded = Store(spark, settings.store).read(JOB_RUNS).collect()
    assert [(row.outcome, row.last_date) for row in recorded] == [("failed", DAY)]
    assert reason in recorded[0].reason
    assert "hunter2" not in outcome.reason + recorded[0].reason


def test_a_log_line_shows_no_secret_that_a_traceback_repeats() -> None:
    try:
        raise ZeroDivisionError("http://ann:hunter2@host/")
    except ZeroDivisionError as error:
        problem = (type(error), error, error.__traceback__)
    record = logging.LogRecord("nextaisle", logging.ERROR, "", 1, "of %s", ("s3a://key:hunter2@bucket",), problem)
    line = call.Discreet().format(record)
    assert "ZeroDivisionError: http://***@host/" in line
    assert "hunter2" not in line


def exit_code_of(monkeypatch: pytest.MonkeyPatch, run: "jobs.Callable[[Night], Result]", *words: str) -> int:
    """The exit code of a call of the job's file."""
    monkeypatch.setattr("sys.argv", ["job.py", *words])
    with pytest.raises(SystemExit) as ended:
        jobs.main(Job(name="called", run=run, is_recorded=False))
    return int(str(ended.value.code))


def test_the_folder_of_an_outcome_is_made(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "new" / "folder" / "outcome.json"
    words = ["--outcome", str(place), "--set", f"store.root={tmp_path}/tables"]
    assert exit_code_of(monkeypatch, refuse, *words) == 4
    assert json.loads(place.read_text())["exit_code"] == 4
    assert capsys.readouterr().out == ""

    def remove_folder(night: Night) -> Result:
        shutil.rmtree(place.parent)
        raise GateError("no room for an outcome either")

    assert exit_code_of(monkeypatch, remove_folder, *words) == 4
    assert json.loads(capsys.readouterr().out)["exit_code"] == 4


def test_an_outcome_that_cannot_be_written_is_a_wrong_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert exit_code_of(monkeypatch, break_down, "--outcome", str(tmp_path / "file" / "outcome.json")) == 2
    assert "--outcome" in json.loads(capsys.readouterr().out)["reason"]


def test_an_error_of_ours_in_a_worker_keeps_its_words_and_its_exit_code(
    spark: SparkSession, settings: Settings
) -> None:
    def refuse_there(rows: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
        raise InputError("item 'x' is in sessions and not in items")

    def run(night: Night) -> Result:
        return Result({"rows": night.spark.range(1).mapInArrow(refuse_there, "id bigint").count()})

    outcome = execute(Job(name="failing", run=run), settings, spark, DAY, DAY)
    assert (outcome.exit_code, outcome.reason) == (3, "item 'x' is in sessions and not in items")


def test_a_jobs_own_file_is_part_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (source := tmp_path / "jobs" / "mended.py").parent.mkdir()
    found = []
    for text in ("first = 1\n", "first = 2  # mended\n"):
        source.write_text(text)
        found.append(jobs._source_of(replace(WRITE_ONE, name="mended")))
    assert found == ["first = 1\n", "first = 2  # mended\n"]
    assert "def run(" in jobs._source_of(replace(WRITE_ONE, name="build_sessions"))
    assert jobs._source_of(WRITE_ONE) == ""


@pytest.mark.parametrize(("conflicts", "exit_code", "reads"), [(1, 0, [1, 2]), (9, 5, [1, 2, 3])])
def test_a_job_that_was_overtaken_starts_again_from_the_read(
    conflicts: int, exit_code: int, reads: list[int], spark: SparkSession, settings: Settings, store: Store
) -> None:
    seen: list[int] = []

    def overtaken(night: Night) -> Result:
        write_one(night)
        seen.append(night.store.read(SEQUENCES).count())
        if len(seen) <= conflicts:
            rows = [(f"v{len(seen)}", DAY, 1, ["a"], [1], ["view"], [datetime(2024, 1, 1, tzinfo=UTC)], [None], [True])]
            store.fresh().merge(SEQUENCES, spark.createDataFrame(rows, SEQUENCES.schema))
        night.store.replace_days(SEQUENCES, night.store.read(SEQUENCES).where("false"), DAY, DAY)
        return Result()

    outcome = execute(Job(name="overtaken", run=overtaken, writes=(SEQUENCES,)), settings, spark, DAY, DAY)
    assert (outcome.exit_code, seen) == (exit_code, reads), outcome.reason
    assert store.fresh().read(JOB_RUNS).count() == 1


@pytest.mark.parametrize(
    "words",
    [["--date", "31.12.2017"], ["--from", "2017-12-31"], ["--from", "2017-12-31", "--to", "2017-12-01"],
     ["--date", "2017-12-31", "--from", "2017-12-31", "--to", "2017-12-31"]],
)  # fmt: skip
def test_a_wrong_day_is_a_wrong_call(words: list[str]) -> None:
    arguments: argparse.Namespace = call.parser("write_one", has_plan=False).parse_args(words)
    with pytest.raises(ConfigurationError):
        call.days(arguments)


def test_a_session_that_does_not_come_up_leaves_an_outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nextaisle.job.create_session", lambda _: break_down)
    assert exit_code_of(monkeypatch, break_down) == 10
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["outcome"], outcome["exit_code"], "AttributeError" in outcome["reason"]) == ("failed", 10, True)


def test_what_spark_does_not_understand_of_a_configuration_is_said_before_the_job_runs(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python knows the zone, and its patterns are others than Java's: `\\p{L}` is a letter, `(?P<a>x)` is nothing."""
    wrong = {
        "source.schema": "user strng",
        "identities.schema": "id string user_id string",
        "source.time_zone": "localtime",
        "items.options": "{Encoding='klingon'}",
        "source.policies.item_id": "{pattern='(?P<a>x)', odd='reject'}",
        "source.policies.user_id": r"{pattern='^\p{L}+$', odd='reject'}",
    }
    words = [word for key, text in wrong.items() for word in ("--set", f"{key}={text}")]
    assert exit_code_of(monkeypatch, break_down, *words) == 2
    reason = json.loads(capsys.readouterr().out)["reason"]
    assert [line.split(" is ")[0] for line in reason.splitlines()] == [
        "source.time_zone", "source.schema", "items.options.encoding", "identities.schema",
        "source.policies.item_id.pattern",
    ]  # fmt: skip
    assert "STRNG" in reason
