"""Volume by day, and drift by column."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nextaisle.quality.outcomes import Outcome
from nextaisle.quality.profiles import PROFILES

# Some vision-impaired readers tell markers apart, not colours.
_MARKERS = "os^Dv<>"


def draw_volume(totals: Mapping[tuple[str, str], Mapping[date, int]]) -> Figure:
    """A line for each table, and one for users; logarithmic, so that half of the rows is as far down in each."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    lines = [profile for profile in PROFILES if profile.volume and (profile.table.name, profile.column) in totals]
    for profile, marker in zip(lines, _MARKERS, strict=False):
        days = sorted(totals[profile.table.name, profile.column].items())
        name = profile.table.name if profile.volume == "volume" else "users"
        axes.plot(_dates(days), [count for _, count in days], marker=marker, markersize=3, label=name)
    axes.set(xlabel="day", ylabel="rows", yscale="log", title="Volume by day")
    axes.tick_params(axis="x", rotation=45)
    axes.legend()
    return figure


def draw_drift(outcomes: Sequence[Outcome]) -> Figure:
    """The population stability index of each column: bars for one day, lines over several."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    columns = sorted({(outcome.table, outcome.check) for outcome in outcomes})
    values = {column: sorted((o.day, o.value) for o in outcomes if (o.table, o.check) == column) for column in columns}
    names = [f"{table}\n{check.removeprefix('psi_')}" for table, check in columns]
    if len({outcome.day for outcome in outcomes}) == 1:
        axes.bar(names, [values[column][0][1] for column in columns])
    else:
        for column, name, marker in zip(columns, names, _MARKERS, strict=False):
            days = values[column]
            label = name.replace("\n", " ")
            axes.plot(_dates(days), [value for _, value in days], marker=marker, markersize=3, label=label)
        axes.tick_params(axis="x", rotation=45)
        axes.legend()
    axes.set(ylabel="population stability index", title="Drift against the weeks before")
    return figure


def _dates(days: Sequence[tuple[date, float]]) -> npt.NDArray[np.datetime64]:
    return np.array([day for day, _ in days], "datetime64[D]")
