"""What a run shows in MLflow: numbers, pictures, a table of models, and some users' lists with names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.contract.vocabulary import latest_items
from nextaisle.evaluation.cases import Protocol
from nextaisle.evaluation.judging import EVENT_COLUMNS, last_cases
from nextaisle.evaluation.means import SPLIT, Mean
from nextaisle.evaluation.metrics import metric_names
from nextaisle.evaluation.pictures import draw_popularity, draw_recall
from nextaisle.evaluation.promotion import CANDIDATE, Verdict
from nextaisle.tracking import Tracker

SAMPLE_USERS = 10
SAMPLE_HISTORY = 15
SAMPLE_LIST = 10
_FOLDER = "evaluation"
Means = Mapping[str, Mapping[str, Mean]]


@dataclass(frozen=True)
class Sample:
    """A user's last case: items known, the candidate's list, the targets."""

    user_id: str
    known: Sequence[int]
    listed: Sequence[int]
    targets: Sequence[int]


def log_report(tracker: Tracker, run_id: str, means: Means, ks: Sequence[int], verdict: Verdict, samples: str) -> None:
    """Metrics as `test/ndcg_at_10` of the candidate and `popular/ndcg_at_10` of the others, pictures and tables."""
    for model, values in means.items():
        prefix = SPLIT if model == CANDIDATE else model
        tracker.log_metrics(run_id, {f"{prefix}/{name}": values[name].value for name in metric_names(ks)})
    tracker.log_text(run_id, f"{markdown_table(means, ks)}\nThe candidate: {verdict.reason}.\n", f"{_FOLDER}/models.md")
    tracker.log_json(run_id, verdict.to_json(), f"{_FOLDER}/promotion.json")
    tracker.log_text(run_id, samples, f"{_FOLDER}/recommendations.md")
    if means:
        tracker.log_figure(run_id, draw_recall(means, max(ks)), "pictures/recall_against_k.png")
        tracker.log_figure(run_id, draw_popularity(means), "pictures/popularity.png")


def markdown_table(means: Means, ks: Sequence[int]) -> str:
    """A line per model, best NDCG first, and a column per metric at the middle one of ks, with intervals."""
    k = sorted(ks)[len(ks) // 2]
    names = metric_names([k])
    lines = ["| model | " + " | ".join(names) + " | cases |", "|---" * (len(names) + 2) + "|"]
    for model in sorted(means, key=lambda model: -means[model][f"ndcg_at_{k}"].value):
        values = means[model]
        cells = [f"{values[name].value:.4f} ({values[name].low:.4f}..{values[name].high:.4f})" for name in names]
        lines.append(f"| {model} | " + " | ".join(cells) + f" | {values[names[0]].cases} |")
    return "\n".join(lines) + "\n"


def describe_samples(judged: DataFrame, histories: DataFrame, items: DataFrame, protocol: Protocol) -> str:
    """Some users, chosen by hash: the end of the context, the candidate's list and the targets, of the last case."""
    candidates = judged.where(F.col("model") == CANDIDATE)
    users = candidates.orderBy(F.xxhash64("user_id"), "user_id").limit(SAMPLE_USERS)
    lists = {row["user_id"]: row["item_indices"] for row in users.select("user_id", "item_indices").collect()}
    events = histories.where(F.col("user_id").isin(list(lists))).select(*EVENT_COLUMNS).toArrow()
    if not lists or not len(events):
        return "No user has a case.\n"
    samples = [
        Sample(user_id, known[-SAMPLE_HISTORY:], lists[user_id][:SAMPLE_LIST], targets)
        for user_id, known, targets in last_cases(events, protocol)
    ]
    titles = _titles(items, {item for sample in samples for item in (*sample.known, *sample.listed, *sample.targets)})
    return "\n".join(_describe(sample, titles) for sample in samples)


def _titles(items: DataFrame, wanted: set[int]) -> dict[int, str]:
    rows = latest_items(items.where(F.col("item_index").isin(sorted(wanted))))
    return {row["item_index"]: row["title"] or row["item_id"] for row in rows.collect()}


def _describe(sample: Sample, titles: Mapping[int, str]) -> str:
    def named(item_indices: Sequence[int], hits: Sequence[int] = ()) -> str:
        names = ((titles.get(item, "unknown"), item in hits) for item in item_indices if item)
        return " · ".join(f"**{name}**" if is_hit else name for name, is_hit in names) or "nothing"

    return (
        f"## {sample.user_id}\n\n* before, latest last: {named(sample.known)}\n"
        f"* recommended: {named(sample.listed, sample.targets)}\n* then took: {named(sample.targets, sample.listed)}\n"
    )
