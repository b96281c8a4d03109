"""How far a day is from the weeks before it: population stability index, volume, and days without a row.

Only counts per day and bin come to the driver, at most BINS of each column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy.stats import chi2

from nextaisle.config import Quality
from nextaisle.contract.tables import EVENTS
from nextaisle.quality.expectations import ERROR, WARNING, Severity
from nextaisle.quality.outcomes import FAILED, PASSED, SKIPPED, Outcome
from nextaisle.quality.profiles import Profile

Array = npt.NDArray[np.float64]

# Bins of a column: the largest of the days before, and all others as one.
BINS: Final = 20
_OTHERS: Final = "other values"
# One false alarm in a thousand columns.
_CHANCE: Final = 0.999
GAP_DAYS: Final = f"{EVENTS.name}.gap_days"
# Fewer days of the same weekday have no median worth the name.
_LEAST_WEEKDAYS: Final = 2


@dataclass(frozen=True)
class Histogram:
    """A column's bins on a day, and on the days before it together."""

    current_B: Array
    reference_B: Array


@dataclass(frozen=True)
class History:
    """Rows per table, column and day, and histograms of the days that are judged."""

    totals: Mapping[tuple[str, str], Mapping[date, int]]
    histograms: Mapping[tuple[str, str, date], Histogram]


def read_history(profiles: DataFrame, first: date, last: date, reference_days: int) -> History:
    """What is known of the days first to last, and of the days before them; `profiles` are rows of data_profiles."""
    known = profiles.where(F.col("profile_date").between(F.lit(first - timedelta(days=reference_days)), F.lit(last)))
    totals: dict[tuple[str, str], dict[date, int]] = {}
    column = ("table_name", "column_name", "profile_date")
    for row in known.groupBy(*column).agg(F.sum("row_count").alias("count")).collect():
        totals.setdefault((row["table_name"], row["column_name"]), {})[row["profile_date"]] = row["count"]
    return History(totals, _histograms(known, first, last, reference_days))


def _histograms(
    known: DataFrame, first: date, last: date, reference_days: int
) -> dict[tuple[str, str, date], Histogram]:
    """Each row counts on its own day, and as reference on the days after it."""
    column, nothing = ("table_name", "column_name", "day"), F.lit(0).cast("bigint")
    own = known.select(
        "*", F.col("profile_date").alias("day"), F.col("row_count").alias("current"), nothing.alias("reference")
    )
    after = F.explode(F.sequence(F.date_add("profile_date", 1), F.date_add("profile_date", reference_days)))
    later = known.select("*", after.alias("day"), nothing.alias("current"), F.col("row_count").alias("reference"))
    sums = (F.sum("current").alias("current"), F.sum("reference").alias("reference"))
    is_judged = F.col("day").between(F.lit(first), F.lit(last))
    bins = own.unionByName(later).where(is_judged).groupBy(*column, "bin").agg(*sums)
    place = F.row_number().over(Window.partitionBy(*column).orderBy(F.desc("reference"), "bin"))
    large = F.when(place < BINS, F.col("bin")).otherwise(F.lit(_OTHERS))
    rows = bins.withColumn("bin", large).groupBy(*column, "bin").agg(*sums).orderBy(*column, "bin").collect()
    found: dict[tuple[str, str, date], list[tuple[int, int]]] = {}
    for row in rows:
        key = (row["table_name"], row["column_name"], row["day"])
        found.setdefault(key, []).append((row["current"], row["reference"]))
    return {key: Histogram(*np.array(pairs, np.float64).T) for key, pairs in found.items()}


def population_stability_index(histogram: Histogram) -> float:
    """The sum of (p - q) ln(p / q) over bins, p the day's shares and q those of the days before.

    Half a row is added to each bin (Jeffreys' prior), so that an empty one has a logarithm.

    | current | reference | index |
    |---------|-----------|-------|
    | 50 50   | 500 500   | .00   |
    | 75 25   | 500 500   | .27   |
    """
    p_B, q_B = (_shares(counts) for counts in (histogram.current_B, histogram.reference_B))
    return float(((p_B - q_B) * np.log(p_B / q_B)).sum())


def chance_limit(bins: int, current: int, reference: int) -> float:
    """What the index stays below by chance alone, for samples of these sizes.

    Without a shift, the index divided by 1/current + 1/reference is about chi-squared with bins - 1 degrees of freedom
    (Yurdakul and Naranjo, Statistical properties of the population stability index, 2020).
    """
    return float(chi2.ppf(_CHANCE, bins - 1)) * (1 / current + 1 / reference) if bins > 1 else 0.0


def drift_outcomes(
    profiles: Sequence[Profile], history: History, first: date, last: date, rules: Quality
) -> list[Outcome]:
    """psi_<column> and volume of each day with rows, and gap_days of every day."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    found = [_gap(history, day, rules) for day in days if any(table == EVENTS.name for table, _ in history.totals)]
    for profile in profiles:
        totals = history.totals.get((profile.table.name, profile.column), {})
        judged = [day for day in days if day in totals]
        found += [_psi(profile, history, day, rules) for day in judged]
        found += [_volume(profile, totals, day, rules) for day in judged if profile.volume]
    return found


def _psi(profile: Profile, history: History, day: date, rules: Quality) -> Outcome:
    name = profile.table.name
    totals, units = history.totals[name, profile.column], history.totals[name, profile.units]
    histogram = history.histograms[name, profile.column, day]
    before = _days_before(totals, day, rules)
    value = population_stability_index(histogram)
    chance = chance_limit(len(histogram.current_B), units[day], sum(units[each] for each in before)) if before else 0.0
    limits: dict[Severity, float] = {WARNING: max(rules.psi_warning, chance), ERROR: max(rules.psi_error, chance)}
    expected = f"at most {limits[WARNING]:.3g}, an error above {limits[ERROR]:.3g}"
    is_known = len(before) >= rules.min_reference_days
    crossed = [severity for severity, limit in limits.items() if value > limit]
    return _drift(profile, f"psi_{profile.column}", day, value, expected, totals[day], is_known, crossed)


def _volume(profile: Profile, totals: Mapping[date, int], day: date, rules: Quality) -> Outcome:
    """Rows, as a multiple of the median of the same weekday in the weeks before: shops close on Sundays."""
    before = _days_before(totals, day, rules)
    alike = [totals[each] for each in before if each.weekday() == day.weekday()]
    is_known = len(before) >= rules.min_reference_days and len(alike) >= _LEAST_WEEKDAYS
    value = totals[day] / float(np.median(alike)) if alike else 0.0
    limits: dict[Severity, float] = {WARNING: rules.volume_warning, ERROR: rules.volume_error}
    crossed = [severity for severity, limit in limits.items() if not 1 / limit <= value <= limit]
    expected = f"within a factor of {rules.volume_warning:g}, an error beyond {rules.volume_error:g}"
    return _drift(profile, profile.volume, day, value, expected, totals[day], is_known, crossed)


def _drift(
    profile: Profile, check: str, day: date, value: float, expected: str, rows: int, is_known: bool,
    crossed: Sequence[Severity],
) -> Outcome:  # fmt: skip
    severity: Severity = ERROR if is_known and ERROR in crossed else WARNING
    outcome: Any = SKIPPED if not is_known else FAILED if crossed else PASSED
    return Outcome(profile.table.name, check, day, value, expected, rows, severity, outcome)


def _gap(history: History, day: date, rules: Quality) -> Outcome:
    """Days without an event that end with this one, the last weeks long at most; a shop's first days have none before.

    | events on | day 3 | day 4 | day 5 |
    |-----------|-------|-------|-------|
    | 2, 5      | 1     | 2     | 0     |
    """
    totals = next(totals for (table, _), totals in history.totals.items() if table == EVENTS.name)
    earlier = _days_before(totals, day, rules)
    value = 0 if day in totals or not earlier else (day - max(earlier)).days
    outcome: Any = FAILED if value else PASSED
    return Outcome(EVENTS.name, "gap_days", day, value, "0", totals.get(day, 0), WARNING, outcome)


def _days_before(totals: Mapping[date, int], day: date, rules: Quality) -> list[date]:
    return [each for each in totals if day - timedelta(days=rules.reference_days) <= each < day]


def _shares(counts_B: Array) -> Array:
    smoothed = counts_B + 0.5
    return np.asarray(smoothed / smoothed.sum(), np.float64)
