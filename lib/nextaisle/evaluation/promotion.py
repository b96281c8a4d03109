"""Which model serves: the candidate takes the alias champion unless it is worse on the same cases."""

import logging
from dataclasses import asdict, dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Promotion
from nextaisle.contract.runs import AS_OF_TAG, MODEL_PATH
from nextaisle.evaluation.means import Mean, mean_of_cases
from nextaisle.tracking import Tracker

log = logging.getLogger(__name__)

CANDIDATE, CHAMPION = "candidate", "champion"
_RIVAL_TAG = "judged_against"
_NOBODY = "nobody"


@dataclass(frozen=True)
class Comparison:
    """Candidate and champion on the same cases; the difference is candidate minus champion, paired by user."""

    candidate: float
    champion: float
    difference: Mean


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate takes the alias, and why."""

    is_promoted: bool
    reason: str
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def find_rival(tracker: Tracker, run_id: str) -> str | None:
    """The run whose model was champion when this run's was first judged; None where there was no champion.

    Noted with the run, so that a night that is repeated, or goes on after a kill, is judged as it was at first,
    although its own model is the champion by then.
    """
    noted = tracker.noted(run_id, _RIVAL_TAG)
    if noted is not None:
        return None if noted == _NOBODY else noted
    champion = tracker.champion()
    return champion.run_id if champion and champion.run_id != run_id else None


def note_rival(tracker: Tracker, run_id: str, rival: str | None) -> None:
    """Keeps for later what `find_rival` found."""
    tracker.note(run_id, _RIVAL_TAG, rival or _NOBODY)


def compare(judged: DataFrame, place: int) -> Comparison | None:
    """The paired comparison by the value at `place` of `values`; None without a champion or a case."""
    value = F.element_at("values", place + 1)
    candidates = judged.where(F.col("model") == CANDIDATE).select("user_id", "cases", value.alias("candidate"))
    champions = judged.where(F.col("model") == CHAMPION).select("user_id", value.alias("champion"))
    pairs = candidates.join(champions, "user_id")
    row = pairs.agg(
        *(
            mean_of_cases(F.col("candidate") - F.col("champion"), F.col("cases")).alias("difference"),
            mean_of_cases(F.col("candidate"), F.col("cases"))["value"].alias("candidate"),
            mean_of_cases(F.col("champion"), F.col("cases"))["value"].alias("champion"),
        )
    ).head()
    if row is None or row["candidate"] is None:
        return None
    return Comparison(row["candidate"], row["champion"], Mean(*row["difference"]))


def is_of_later_day(tracker: Tracker, rival: str, as_of: date) -> bool:
    """Whether a run's model has seen days after `as_of`, and so perhaps those that it would be judged on."""
    day = tracker.noted(rival, AS_OF_TAG)
    return day is not None and date.fromisoformat(day) > as_of


def decide(comparison: Comparison | None, rival: str | None, promotion: Promotion, is_later: bool = False) -> Verdict:
    """The rule. With tolerance .02:

    | candidate | champion        | promoted |
    |-----------|-----------------|----------|
    | .098      | .100            | yes, exactly at the tolerance |
    | .0979     | .100            | no       |
    | .0        | .0              | yes      |
    | any       | none, or one that cannot be judged with this vocabulary | yes |
    | any       | `is_later`: trained as of a later day                   | no  |
    """
    if rival is None:
        return Verdict(True, "there was no champion")
    if is_later:
        return Verdict(False, f"of an earlier day than that of run {rival}; neither can be judged on the other's days")
    if comparison is None:
        return Verdict(True, f"the champion, of run {rival}, could not be judged on the same cases")
    least = comparison.champion * (1 - promotion.tolerance)
    is_worse = comparison.candidate < least - 1e-12  # what rounding does to a candidate exactly at the tolerance
    word = "worse than" if is_worse else "not worse than"
    numbers = f"{promotion.metric} {comparison.candidate:.5f} against {comparison.champion:.5f}"
    ends = f"{comparison.difference.value:+.5f} ({comparison.difference.low:+.5f}..{comparison.difference.high:+.5f})"
    reason = f"{word} the champion by more than {promotion.tolerance:.1%}: {numbers}, paired difference {ends}"
    return Verdict(not is_worse, reason, comparison)


def settle(tracker: Tracker, run_id: str, rival: str | None, verdict: Verdict) -> None:
    """Gives the alias to the run's model if the verdict says so. An alias that a later run has taken stays with it."""
    champion = tracker.champion()
    holder = champion.run_id if champion else None
    if not verdict.is_promoted:
        log.warning("the champion stays: the candidate is %s", verdict.reason)
    elif holder == run_id:
        log.info("the candidate is the champion already")
    elif holder != rival:
        log.warning("the candidate is left aside: the model of run %s has become champion meanwhile", holder)
    else:
        tracker.promote(tracker.register(run_id, MODEL_PATH))
        log.info("the candidate is the champion now: %s", verdict.reason)
