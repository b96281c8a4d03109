"""A night's judgement: tonight's model, the champion it may replace, and the baselines, on the same cases."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from nextaisle.config import Settings
from nextaisle.contract.errors import GateError, InputError
from nextaisle.contract.runs import EVALUATED, MODEL_PATH
from nextaisle.contract.tables import EVALUATION_CASES, EVALUATIONS, ITEMS, SESSIONS
from nextaisle.contract.vocabulary import item_count, vocabulary_hash
from nextaisle.evaluation.baselines import learn_baselines
from nextaisle.evaluation.cases import Protocol
from nextaisle.evaluation.histories import build_histories
from nextaisle.evaluation.judging import Judgement, judge, value_names
from nextaisle.evaluation.means import Judged, case_rows, collect_means, evaluation_rows
from nextaisle.evaluation.metrics import metric_names
from nextaisle.evaluation.promotion import (
    CANDIDATE,
    CHAMPION,
    compare,
    decide,
    find_rival,
    is_of_later_day,
    note_rival,
    settle,
)
from nextaisle.evaluation.report import describe_samples, log_report
from nextaisle.ledger import finished_runs, newest_first
from nextaisle.model import load_model
from nextaisle.scoring.packed import PackedModel, pack_model
from nextaisle.storage.store import Store
from nextaisle.tracking import Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contest:
    """The run that is judged, the run that was champion, those of their models that can be judged; items known.

    `is_later`: the champion was trained as of a later day.
    """

    run_id: str
    rival: str | None
    is_later: bool
    models: dict[str, PackedModel]
    item_count: int


def trained_run(store: Store, as_of: date) -> str:
    """The MLflow run that train_model last made, or found to be finished, for this day.

    Raises:
        InputError: there is none; says what to do.
    """
    runs = finished_runs(store, "train_model").where(F.col("last_date") == F.lit(as_of))
    newest = newest_first(runs).first()
    if newest is None:
        raise InputError(f"no model was trained for {as_of}; run train_model --date {as_of} first")
    if not newest["tracking_run_id"]:
        raise InputError("the last train_model found no tracking server; see [tracking] uri and run train_model again")
    return str(newest["tracking_run_id"])


def evaluate_night(settings: Settings, store: Store, as_of: date) -> tuple[dict[str, int], str]:
    """Judges, writes evaluation_cases and evaluations, settles who is champion, and logs it all with the run.

    Returns counts for job_runs, and the run that was judged.
    """
    place = metric_names(settings.evaluation.ks).index(settings.promotion.metric)
    tracker = Tracker(settings.tracking)
    contest = _contest(tracker, trained_run(store, as_of), store.read(ITEMS), as_of)
    protocol = Protocol.of(settings.evaluation, as_of)
    with _histories(settings, store, as_of) as histories, _judged(settings, histories, contest, as_of) as judged:
        about = Judged(contest.run_id, protocol.name, settings.evaluation.ks)
        means = collect_means(judged, value_names(settings.evaluation.ks))
        store.replace(EVALUATION_CASES, case_rows(judged, about), f"run_id = '{contest.run_id}'")
        store.merge(EVALUATIONS, evaluation_rows(judged.sparkSession, means, about))
        verdict = decide(compare(judged, place), contest.rival, settings.promotion, contest.is_later)
        samples = describe_samples(judged, histories, store.read(ITEMS), protocol)
    settle(tracker, contest.run_id, contest.rival, verdict)
    log_report(tracker, contest.run_id, means, settings.evaluation.ks, verdict, samples)
    cases = max((mean.cases for values in means.values() for mean in values.values()), default=0)
    return {"models": len(means), "cases": cases, "promoted": int(verdict.is_promoted)}, contest.run_id


def _contest(tracker: Tracker, run_id: str, items: DataFrame, as_of: date) -> Contest:
    """Fetches the models.

    Raises:
        GateError: tonight's model speaks of another vocabulary than the table's.
    """
    candidate = _fetch(tracker, run_id, items)
    if candidate is None:
        raise GateError(
            f"the model of run {run_id} was trained with other items than the table's; run train_model again"
        )
    rival = find_rival(tracker, run_id)
    is_later = rival is not None and is_of_later_day(tracker, rival, as_of)
    champion = _fetch_rival(tracker, rival, items) if rival and not is_later else None
    note_rival(tracker, run_id, rival)
    models = {CANDIDATE: candidate} | ({CHAMPION: champion} if champion else {})
    return Contest(run_id, rival, is_later, models, item_count(items))


def _fetch(tracker: Tracker, run_id: str, items: DataFrame) -> PackedModel | None:
    """The run's judged model; None if its vocabulary is no prefix of the table's."""
    folder = tracker.download(run_id, MODEL_PATH) / EVALUATED
    spec = load_model(folder).spec
    return pack_model(folder) if spec.vocabulary_hash == vocabulary_hash(items, spec.item_count) else None


def _fetch_rival(tracker: Tracker, rival: str, items: DataFrame) -> PackedModel | None:
    """The champion's model; None if it cannot be judged, as one of an older version: it must not stand for ever."""
    try:
        champion = _fetch(tracker, rival, items)
    except InputError as error:
        log.warning("the champion, of run %s, cannot be judged: %s", rival, error)
        return None
    if champion is None:
        log.warning("the champion, of run %s, knows other items than the table's: it cannot be judged", rival)
    return champion


@contextmanager
def _histories(settings: Settings, store: Store, as_of: date) -> Iterator[DataFrame]:
    """On disk, as it is read five times."""
    sessions, items = store.read(SESSIONS), store.read(ITEMS)
    histories = build_histories(sessions, items, settings.evaluation, as_of, settings.source.time_zone)
    kept = histories.persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        kept.unpersist()


@contextmanager
def _judged(settings: Settings, histories: DataFrame, contest: Contest, as_of: date) -> Iterator[DataFrame]:
    evaluation = settings.evaluation
    baselines = learn_baselines(histories, contest.item_count, evaluation, as_of)
    hides_seen = evaluation.exclude == "seen"
    judgement = Judgement(Protocol.of(evaluation, as_of), evaluation.ks, hides_seen, baselines, contest.models)
    kept = judge(histories, judgement, evaluation.user_share).persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        kept.unpersist()
