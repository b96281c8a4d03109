"""Runs one job for a range of days: arguments in, an outcome on the last line of standard output, an exit code out.

A job whose code, configuration and inputs are those of a run that succeeded, and whose tables nobody wrote since,
has nothing to do: it ends as `unchanged`.
"""

import argparse
import hashlib
import importlib.resources
import importlib.util
import inspect
import json
import logging
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from importlib.resources.abc import Traversable
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from nextaisle import call, overlays
from nextaisle.config import Settings, without_secrets
from nextaisle.contract.errors import DONE, UNEXPECTED, ConflictError, refusal_in
from nextaisle.contract.tables import JOB_RUNS, TABLES, Table
from nextaisle.ledger import finished_runs, left_the_current, newest_first, version_left, version_read
from nextaisle.spark import bytes_read, create_session, local_rows
from nextaisle.spark_rules import check_with_spark
from nextaisle.storage.delta_log import Version
from nextaisle.storage.store import Store

log = logging.getLogger("nextaisle")
Day = date  # under another name: Outcome has a field called date
# How often a job reads again where another writer was faster, before an orchestrator has to know.
_TRIES = 3


@dataclass(frozen=True)
class Night:
    """What a job gets: the configuration, the tables, and the days of the logs (None, None: everything).

    A job that goes by days of events takes these for such ones too, and is safe: what logs of a day change on other
    days, tables tell (changes.py), and a first day of events that is too early costs time alone.
    """

    settings: Settings
    spark: SparkSession
    store: Store
    first: date | None
    last: date | None
    rules_key: str = ""  # a hash of the sections of the configuration that the job names


@dataclass(frozen=True)
class Result:
    """What a job did: counts by name, the MLflow run that it made or judged, and the days, where it chose them."""

    rows: dict[str, int] = field(default_factory=dict)
    tracking_run_id: str = ""
    days: tuple[date | None, date | None] | None = None


@dataclass(frozen=True)
class Job:
    """A file in jobs/: what it reads and writes, and the sections of the configuration that its result depends on."""

    name: str
    run: Callable[[Night], Result]
    reads: tuple[Table, ...] = ()
    writes: tuple[Table, ...] = ()
    sections: tuple[str, ...] = ()
    # What it reads beside tables, as a string that changes when that does: files and their times.
    inputs: Callable[[Night], str] | None = None
    # What it does under --plan, a flag that other jobs do not have: says what it would do, and writes nothing.
    plan: Callable[[Night], Result] | None = None
    # Whether a run leaves a row in job_runs; one that only looks does not.
    is_recorded: bool = True
    # Whether runs of it, for other days or of another half of its tables, leave each other's rows as they are.
    adds_beside: bool = False


@dataclass(frozen=True)
class Outcome:
    """The last line on standard output."""

    job: str
    date: str
    outcome: str
    rows: dict[str, int]
    seconds: float
    versions: dict[str, int]
    run_id: str
    tracking_run_id: str
    reason: str
    exit_code: int
    first: Day | None = None
    last: Day | None = None


def main(job: Job) -> None:
    """The command line of a file in jobs/; ends the process with the exit code that contract/errors.py gives."""
    call.start_logging()
    arguments = call.parser(job.name, has_plan=bool(job.plan)).parse_args()
    if job.plan and arguments.plan:
        job = planning(job, job.plan)
    outcome = _outcome_of(job, arguments)
    line = json.dumps(asdict(outcome), ensure_ascii=False, default=str)
    call.leave_outcome(line, job.name, arguments.outcome)
    sys.exit(outcome.exit_code)


def planning(job: Job, plan: Callable[[Night], Result]) -> Job:
    """The job under --plan."""
    return replace(job, run=plan, is_recorded=False)


def _outcome_of(job: Job, arguments: argparse.Namespace) -> Outcome:
    try:
        settings = overlays.load(arguments.conf, arguments.set)
        log.info("configuration %s", json.dumps(settings.flat(), default=str))
        first, last = call.days(arguments)
        call.make_room(arguments.outcome)
        spark = create_session(job.name)
        spark.sparkContext.setLogLevel("WARN")
        check_with_spark(spark, settings)
    except Exception as error:
        return _failed(job, None, error, "", 0.0)
    return execute(job, settings, spark, first, last)


def execute(job: Job, settings: Settings, spark: SparkSession, first: date | None, last: date | None) -> Outcome:
    """Runs `job`, unless nothing that it depends on has changed; never raises. Writes one row of job_runs.

    Where another writer was faster, it starts again from the read: what it made of old rows must not be published.
    """
    started, clock, run_id = datetime.now(UTC), time.monotonic(), uuid.uuid4().hex
    log.info("%s: days %s to %s", job.name, first, last)
    for tries_left in reversed(range(_TRIES)):
        read_before = bytes_read(spark)
        night = Night(settings, spark, Store(spark, settings.store), first, last, rules_key(job, settings))
        outcome, key = _attempt(job, night, run_id, clock)
        if outcome.exit_code != ConflictError.exit_code or not tries_left:
            break
        log.warning("%s: %s; reading again, %d tries left", job.name, outcome.reason, tries_left)
    log.info("%s: %s in %.1f s %s", job.name, outcome.outcome, outcome.seconds, outcome.rows or "")
    if job.is_recorded:
        _record(night, outcome, key, started, read_before)
    return outcome


def _attempt(job: Job, night: Night, run_id: str, clock: float) -> tuple[Outcome, str]:
    """The outcome of one try, and the job's key."""
    key = ""
    try:
        key = _job_key(job, night)
        earlier = _earlier_result(job, key, night)
        result = earlier or job.run(night)
        word = "unchanged" if earlier else "done"
        return _succeeded(job, night, result, word, run_id, time.monotonic() - clock), key
    except Exception as error:
        return _failed(job, night, error, run_id, time.monotonic() - clock), key


def is_done(job: Job, night: Night) -> bool:
    """Whether nothing that the job depends on has changed since a run that succeeded, nor the tables that it left."""
    return _earlier_run(job, _job_key(job, night), night) is not None


def rules_key(job: Job, settings: Settings) -> str:
    """A hash of the sections of the configuration that the job names."""
    return _hash(_rules(job, settings))


def code_hash(*packages: str) -> str:
    """SHA-256 over the source of the package, or of these parts of it, as `model`, `training`."""
    root = importlib.resources.files("nextaisle")
    digest = hashlib.sha256()
    for part in [root.joinpath(name) for name in packages] if packages else [root]:
        for name, source in sorted(_sources(part, "")):
            digest.update(name.encode() + b"\0" + source)
    return digest.hexdigest()


def _source_of(job: Job) -> str:
    """The job's own file; nothing of a job that is no file in jobs/, as of a test."""
    try:
        found = importlib.util.find_spec(f"jobs.{job.name}")
    except ModuleNotFoundError:
        return ""
    return inspect.getsource(importlib.util.module_from_spec(found)) if found else ""


def _sources(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


def _job_key(job: Job, night: Night) -> str:
    versions = {table.name: night.store.version(table) for table in job.reads if table not in job.writes}
    parts = {
        "job": job.name,
        "days": [str(night.first), str(night.last)],
        "versions": versions,
        "settings": _rules(job, night.settings),
        "inputs": job.inputs(night) if job.inputs else "",
        "code": code_hash() + _source_of(job),
    }
    return _hash(parts)


def _rules(job: Job, settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name).model_dump(mode="json") for name in job.sections}


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _earlier_result(job: Job, key: str, night: Night) -> Result | None:
    """The result of an earlier run with this key; a job without tables judges by itself what there is to do."""
    earlier = _earlier_run(job, key, night) if job.writes else None
    return Result(dict(earlier["rows"]), earlier["tracking_run_id"] or "") if earlier else None


def _earlier_run(job: Job, key: str, night: Night) -> Row | None:
    """The newest run with this key, if the tables it left are still the current ones.

    Where runs add beside each other, they may also be those that one other run of the same rules has made of them.
    """
    runs = finished_runs(night.store, job.name)
    earlier = newest_first(runs.where(F.col("job_key") == key)).first()
    if earlier is None or left_the_current(earlier, night.store):
        return earlier
    if job.adds_beside:
        left = [TABLES[name] for name in earlier["versions_written"]]
        alike = runs.where(F.col("rules_key") == earlier["rules_key"])
        for run in alike.where(F.col("run_number") > F.lit(earlier["run_number"])).collect():
            went_on = all(version_left(earlier, table) == version_read(run, table) for table in left)
            if went_on and left_the_current(run, night.store):
                return earlier
    return None


def _versions(job: Job, night: Night) -> dict[str, int]:
    """What a later run compares: the versions that the job leaves, whether it had to write them or not."""
    versions = {table.name: night.store.number_left(table) for table in job.writes}
    return {name: version for name, version in versions.items() if version is not None}


def _numbers(versions: Mapping[str, Version]) -> dict[str, int]:
    return {name: version.number for name, version in versions.items()}


def _record(night: Night, outcome: Outcome, key: str, started: datetime, read_before: int) -> None:
    try:
        read = bytes_read(night.spark) - read_before + night.store.bytes_looked_up
        row = _run_row(night, outcome, key, started, read)
        rows = local_rows(night.spark, [[row[name] for name in JOB_RUNS.names]], JOB_RUNS.schema)
        night.store.append(JOB_RUNS, rows)
    except Exception:
        # The job's own outcome is what the orchestrator must hear of.
        log.error("job_runs could not be written: %s", traceback.format_exc())


def _run_row(night: Night, outcome: Outcome, key: str, started: datetime, read: int) -> dict[str, Any]:
    store = night.store
    versions = dict(store.versions_read) | {
        name: version for name in outcome.versions if (version := store.version(TABLES[name]))
    }
    return {
        "run_id": outcome.run_id, "job": outcome.job, "first_date": outcome.first, "last_date": outcome.last,
        "job_key": key, "rules_key": night.rules_key, "outcome": outcome.outcome, "reason": outcome.reason or None,
        "versions_read": _numbers(store.versions_read), "versions_written": outcome.versions, "rows": outcome.rows,
        "bytes_written": store.bytes_written, "bytes_read": read, "tracking_run_id": outcome.tracking_run_id or None,
        "started_time": started, "seconds": outcome.seconds, "run_number": store.current_version(JOB_RUNS) or 0,
        "table_ids": {name: of.table_id for name, of in versions.items()},
    }  # fmt: skip


def _succeeded(job: Job, night: Night, result: Result, word: str, run_id: str, seconds: float) -> Outcome:
    first, last = result.days or (night.first, night.last)
    versions = _versions(job, night)
    return Outcome(
        job.name, _shown(first, last), word, result.rows, round(seconds, 1), versions, run_id,
        result.tracking_run_id, "", DONE, first, last,
    )  # fmt: skip


def _failed(job: Job, night: Night | None, error: Exception, run_id: str, seconds: float) -> Outcome:
    """To be called while the error is being handled."""
    if refusal := refusal_in(error):
        log.error("%s: %s", job.name, refusal)
        reason, exit_code = str(refusal), refusal.exit_code
    else:
        log.error("%s: %s", job.name, traceback.format_exc())
        reason, exit_code = f"{type(error).__name__}: {error}", UNEXPECTED
    first, last = (night.first, night.last) if night else (None, None)
    reason, seconds = without_secrets(reason), round(seconds, 1)
    return Outcome(job.name, _shown(first, last), "failed", {}, seconds, {}, run_id, "", reason, exit_code, first, last)


def _shown(first: date | None, last: date | None) -> str:
    if first is None or first == last:
        return str(last) if last else "all"
    return f"{first}/{last}"
