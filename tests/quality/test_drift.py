from datetime import date, timedelta

import numpy as np
import pytest
from pyspark.sql import SparkSession

from nextaisle.config import Quality, Settings
from nextaisle.contract.tables import DATA_PROFILES, EVENTS
from nextaisle.quality.drift import (
    BINS,
    Histogram,
    History,
    chance_limit,
    drift_outcomes,
    population_stability_index,
    read_history,
)
from nextaisle.quality.outcomes import Outcome
from nextaisle.quality.profiles import PROFILES, profiles_of

FIRST = date(2024, 1, 1)  # a Monday
USERS = "events_per_user"
PROFILE = next(profile for profile in PROFILES if profile.column == "event_type")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def histogram(current: list[float], reference: list[float]) -> Histogram:
    return Histogram(np.array(current), np.array(reference))


@pytest.mark.parametrize(
    ("current", "reference", "expected"),
    [([50, 50], [500, 500], 0.0), ([75, 25], [500, 500], 0.2747), ([100, 0], [500, 500], 2.5), ([0, 0], [5, 5], 0.0)],
)
def test_the_index_is_the_sum_of_p_less_q_times_the_logarithm_of_their_ratio(
    current: list[float], reference: list[float], expected: float
) -> None:
    large = histogram([1e6 * n for n in current], [1e6 * n for n in reference])
    found = population_stability_index(large)
    # With an empty bin it depends on half a row.
    assert found > expected if expected == 2.5 else found == pytest.approx(expected, abs=1e-4)


def test_by_chance_alone_the_index_stays_below_its_limit_but_for_one_in_a_thousand() -> None:
    random, shares = np.random.default_rng(1), np.array([0.4, 0.3, 0.2, 0.1])
    draws = (random.multinomial([200, 3000], [shares, shares]) for _ in range(4000))
    limit = chance_limit(4, 200, 3000)
    over = sum(population_stability_index(histogram(current, reference)) > limit for current, reference in draws)
    assert 0 < over < 16
    assert limit == pytest.approx(16.27 * (1 / 200 + 1 / 3000), rel=1e-3)


def judge(rules: Quality, totals: dict[int, int], last: int, *shifted: Histogram, users: int = 10_000) -> list[Outcome]:
    """The outcomes of the day `last` of events: `totals` are events per day, `shifted` that day's histogram."""
    by_day = {day(number): count for number, count in totals.items()}
    known = {(EVENTS.name, PROFILE.column): by_day, (EVENTS.name, USERS): dict.fromkeys(by_day, users)}
    histograms = {(EVENTS.name, PROFILE.column, day(last)): shifted[0] if shifted else histogram([1.0], [1.0])}
    return drift_outcomes([PROFILE], History(known, histograms), day(last), day(last), rules)


def of(outcomes: list[Outcome], check: str) -> tuple[str, str, float]:
    found = next(outcome for outcome in outcomes if outcome.check == check)
    return found.outcome, found.severity, round(found.value, 3)


@pytest.mark.parametrize(
    ("current", "expected"),
    [([52, 48], ("passed", "warning", 0.002)), ([68, 32], ("failed", "warning", 0.136)),
     ([80, 20], ("failed", "error", 0.416))],
)  # fmt: skip
def test_a_moderate_shift_warns_and_a_major_one_is_an_error(
    current: list[float], expected: tuple[str, str, float], settings: Settings
) -> None:
    shifted = histogram([1000 * n for n in current], [50_000, 50_000])
    assert of(judge(settings.quality, dict.fromkeys(range(29), 1000), 28, shifted), "psi_event_type") == expected


def test_what_a_few_users_give_by_chance_is_no_drift(settings: Settings) -> None:
    shifted = histogram([68, 32], [1400, 1400])
    totals = dict.fromkeys(range(29), 100)
    assert of(judge(settings.quality, totals, 28, shifted, users=10), "psi_event_type")[0] == "passed"
    assert of(judge(settings.quality, totals, 28, shifted, users=10_000), "psi_event_type")[0] == "failed"


def test_with_too_few_days_before_it_a_day_is_not_judged(settings: Settings) -> None:
    shifted = histogram([100, 0], [0, 100])
    for days, expected in ((13, "skipped"), (14, "failed")):
        outcomes = judge(settings.quality, dict.fromkeys(range(days + 1), 1000), days, shifted)
        assert {of(outcomes, check)[0] for check in ("psi_event_type",)} == {expected}
    assert of(judge(settings.quality, dict.fromkeys(range(13), 9) | {13: 100}, 13), "volume")[0] == "skipped"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(100, ("passed", "warning", 1.0)), (200, ("passed", "warning", 2.0)), (210, ("failed", "warning", 2.1)),
     (49, ("failed", "warning", 0.49)), (9, ("failed", "error", 0.09)), (1001, ("failed", "error", 10.01))],
)  # fmt: skip
def test_the_volume_is_held_against_the_same_weekday(
    count: int, expected: tuple[str, str, float], settings: Settings
) -> None:
    # Mondays have 100, once 5,000; all other days 7.
    totals = {number: (100 if number % 7 == 0 else 7) for number in range(28)} | {7: 5_000, 28: count}
    assert of(judge(settings.quality, totals, 28), "volume") == expected


def test_days_without_events_are_a_gap_until_events_come_again(settings: Settings) -> None:
    totals = {2: 10, 5: 10}
    found = {number: of(judge(settings.quality, totals, number), "gap_days") for number in range(1, 6)}
    passed = ("passed", "warning", 0)
    assert found == {1: passed, 2: passed, 3: ("failed", "warning", 1), 4: ("failed", "warning", 2), 5: passed}


def test_a_history_sums_the_days_before_and_joins_small_bins(spark: SparkSession) -> None:
    """30 items of which the first sells most; 3 days before the one that is judged, and one that lies too far back."""
    table, column = EVENTS.name, "category"
    rows = [(day(n), table, column, f"c{item:02}", 100 - item) for n in range(4) for item in range(30)]
    rows += [(day(4), table, column, "c00", 10), (day(4), table, column, "new", 5), (day(5), table, column, "c00", 9)]
    profiles = spark.createDataFrame(rows, DATA_PROFILES.schema)
    history = read_history(profiles, day(4), day(4), reference_days=3)
    assert history.totals == {(table, column): {day(n): sum(range(71, 101)) for n in (1, 2, 3)} | {day(4): 15}}
    assert list(history.histograms) == [(table, column, day(4))]
    bins = history.histograms[table, column, day(4)]
    assert bins.reference_B.tolist() == [3.0 * (100 - item) for item in range(BINS - 1)] + [
        3.0 * sum(100 - item for item in range(BINS - 1, 30))
    ]
    assert bins.current_B.tolist() == [10.0] + [0.0] * (BINS - 2) + [5.0]


def test_only_profiles_of_tables_that_were_checked_are_made() -> None:
    assert {profile.table for profile in profiles_of([EVENTS])} == {EVENTS}
