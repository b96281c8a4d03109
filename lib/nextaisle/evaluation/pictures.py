"""What an analyst looks at in MLflow."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from nextaisle.evaluation.means import Mean
from nextaisle.evaluation.rankers import GROUPS

Means = Mapping[str, Mapping[str, Mean]]


def draw_recall(means: Means, longest: int) -> Figure:
    """Recall against k: a line per model, with the interval of the first one as a band."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ranks = range(1, longest + 1)
    for model, values in means.items():
        curve = [values[f"recall_at_{k}"] for k in ranks]
        (line,) = axes.plot(ranks, [mean.value for mean in curve], label=model)
        axes.fill_between(ranks, [m.low for m in curve], [m.high for m in curve], color=line.get_color(), alpha=0.1)
    axes.set(xlabel="k", ylabel="recall at k", ylim=(0, None), title="Recall against k, 95 % intervals")
    axes.legend()
    return figure


def draw_popularity(means: Means) -> Figure:
    """Where on the long tail the lists and the targets lie; above the black line a model shows too much of a group."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    groups = range(1, GROUPS + 1)
    for model, values in means.items():
        axes.plot(groups, [values[f"listed_share_{group}"].value for group in groups], marker=".", label=model)
    truth = next(iter(means.values()))
    shares = [truth[f"target_share_{group}"].value for group in groups]
    axes.plot(groups, shares, color="black", linewidth=3, label="what users took")
    axes.set(xlabel="group of items, 1 is the most popular tenth of all events", ylabel="share", ylim=(0, None))
    axes.set_title("Recommended against true popularity")
    axes.legend()
    return figure
