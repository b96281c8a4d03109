import argparse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyarrow import RecordBatch
from pyspark.sql import SparkSession

from nextaisle import job as jobs
from nextaisle.config import Settings
from nextaisle.contract.errors import ConfigurationError, GateError, InputError
from nextaisle.contract.tables import JOB_RUNS, SEQUENCES
from nextaisle.job import Job, Night, Outcome, Result, execute
from nextaisle.store import Store

DAY = date(2024, 1, 1)


def write_one(night: Night) -> Result:
    rows = [("u", DAY, 1, ["a"], [1], ["view"], [datetime(2024, 1, 1, tzinfo=UTC)], [None], [True])]
    night.store.merge(SEQUENCES, night.spark.createDataFrame(rows, SEQUENCES.schema))
    return Result({"rows": 1}, "run")


WRITE_ONE = Job(name="write_one", run=write_one, writes=(SEQUENCES,), sections=("sessions",))


def refuse(night: Night) -> Result:
    raise GateError("too many records were refused")


def break_down(night: Night) -> Result:
    raise ZeroDivisionError("oh")


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
    arguments: argparse.Namespace = jobs._parser(WRITE_ONE).parse_args(words)
    with pytest.raises(ConfigurationError):
        jobs._days(arguments)
