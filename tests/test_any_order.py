"""From raw logs to profiles: however days are split, ordered and repeated, the tables hold what one pass gives."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.check_tables import CHECK_DATA
from jobs.nightly import DAYS as DATA_JOBS
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import ITEMS, SEQUENCES, SOURCE_FILES
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.faults.shop import TABLES

ZONE = ZoneInfo("America/New_York")
DAYS = [date(2024, 1, 30) + timedelta(days=n) for n in range(6)]  # a month ends among them
USERS = 60
# What tells of the nights' order: an index is given when an item is first seen, and a file's counts say what came of
# its records when it was read.
ASIDE = {
    ITEMS.name: ["item_index"], SEQUENCES.name: ["item_indices"],
    SOURCE_FILES.name: ["accepted_count", "rejected_count", "duplicate_count"],
}  # fmt: skip
CATALOGUE = "item,category,brand,since\na,x,p,\nb,x,q,\nb,y,q,2024-01-31\nc,y,,\nd,z,p,2024-02-02\n"
RULES = {
    "source.format": "json", "source.schema": "user string, item string, kind string, time string, price string",
    "source.columns.user_id": "user", "source.columns.item_id": "item", "source.columns.event_type": "kind",
    "source.columns.event_time": "time", "source.columns.price": "price", "source.time_zone": ZONE.key,
    "items.format": "csv", "items.options.header": "true", "items.columns.item_id": "item",
    "items.columns.category": "category", "items.columns.brand": "brand", "items.columns.valid_from": "since",
    "events.max_rejected_share": 1.0, "events.max_per_user_day": 9, "events.max_late_days": 2,
    "events.clock_skew_minutes": 0, "bots.max_user_share": 1.0, "bots.events_per_minute": 6,
    "sequences.max_events": 7, "sequences.daily_days": 5,
    "examples.length": 7, "examples.stride": 7, "model.span": 7,
    "profiles.window_days": 2, "profiles.price_days": 3, "profiles.max_distinct": 3, "item_graph.max_basket_items": 3,
}  # fmt: skip


def random_log(seed: int) -> Iterator[tuple[date, str]]:
    """(day of the logs, line) of a user: visits, some over midnight; lines late, twice, unreadable, or too many."""
    dice = random.Random(seed)
    moment = datetime(2024, 1, 30, dice.randrange(24), dice.randrange(60), tzinfo=ZONE).astimezone(UTC)
    while (day := moment.astimezone(ZONE).date()) <= DAYS[-1]:
        for _ in range(dice.choice((1, 1, 1, 2, 3, 7))):
            line = _line(dice, f"u{seed}", moment)
            for _ in range(dice.choice((1, 1, 1, 1, 2))):
                yield min(day + timedelta(days=dice.choice((0, 0, 0, 1, 3))), DAYS[-1]), line
        moment += timedelta(minutes=dice.choice((0, 1, 5, 29, 30, 31, 400, 1500)), seconds=dice.choice((0, 0, 7)))


def _line(dice: random.Random, user: str, moment: datetime) -> str:
    if dice.random() < 0.02:
        return f'{{"user": "{user}", '
    return json.dumps({
        "user": dice.choice((user, user, user, user, user, user, user, user, user, None)),
        "item": dice.choice("abcde"), "kind": dice.choice(("view", "view", "cart", "purchase", "return", "stare")),
        "time": moment.isoformat(), "price": dice.choice((None, "1.5", "2", "0.25")),
    })  # fmt: skip


def shop(folder: Path, seed: int) -> Settings:
    """Settings for the logs of so many users at once, written to `folder`."""
    logs: dict[date, list[str]] = {day: [] for day in DAYS}
    for user in range(USERS):
        for day, line in random_log(seed * USERS + user):
            logs[day].append(line)
    for day, lines in logs.items():
        path = folder / "logs" / f"{day}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "items.csv").write_text(CATALOGUE, encoding="utf-8")
    places = {"source.path": f"{folder}/logs/{{date}}.json", "items.path": f"{folder}/items.csv"}
    return overlays.load(assignments=[f"{name}={value}" for name, value in (places | RULES).items()])


def built(spark: SparkSession, settings: Settings, root: Path, nights: Sequence[Sequence[date]]) -> dict[str, Any]:
    """The rows of all tables after the data jobs and their checks have run for each night's first to last day."""
    mine = settings.model_copy(update={"store": settings.store.model_copy(update={"root": str(root)})})
    for night in nights:
        for job in (*DATA_JOBS, CHECK_DATA):
            outcome = execute(job, mine, spark, night[0], night[-1])
            assert outcome.exit_code == 0, outcome.reason
    found = {table: Store(spark, mine.store).read(table).drop(*ASIDE.get(table.name, ())) for table in TABLES}
    return {table.name: sorted((tuple(row) for row in rows.collect()), key=repr) for table, rows in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@hypothesis_settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(seed=st.integers(0, 2**20), cuts=st.sets(st.integers(1, 5), min_size=1, max_size=3), data=st.data())
def test_any_split_order_and_repetition_of_nights_gives_what_one_pass_gives(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: set[int], data: st.DataObject
) -> None:
    """Each user's log is one of its own, so that an example is sixty of them."""
    folder = tmp_path_factory.mktemp("orders")
    settings = shop(folder, seed)
    nights = [DAYS[first:after] for first, after in pairwise([0, *sorted(cuts), len(DAYS)])]
    order = data.draw(st.permutations(nights))
    repeated = data.draw(st.sampled_from(nights))
    expected = built(spark, settings, folder / "whole", [DAYS])
    assert all(expected[table.name] for table in TABLES)
    found = built(spark, settings, folder / "nights", [*order, repeated])
    for name, rows in expected.items():
        assert found[name] == rows, name
