"""A small shop: its logs, its tables, and the jobs over them."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import clean_events, replay_rejected
from nextaisle import overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, Table
from nextaisle.job import Job, Outcome, execute
from nextaisle.storage.store import Store

SCHEMA = "id string, user string, item string, kind string, time string"
COLUMNS = {"user_id": "user", "item_id": "item", "event_type": "kind", "event_time": "time"}
JSON_LINES = {"source.format": "json", "source.schema": SCHEMA} | {
    f"source.columns.{name}": text for name, text in COLUMNS.items()
}


def record(user: str | None, time: str, item: str | None = "a", kind: str = "view", **more: str) -> str:
    """`time` as "01 10:00:00", in January 2024."""
    return json.dumps({"user": user, "item": item, "kind": kind, "time": f"2024-01-{time.replace(' ', 'T')}Z", **more})


@dataclass(frozen=True)
class Shop:
    """Logs in `root`/logs/DAY, tables in a folder of this name beside them; days are of January 2024."""

    spark: SparkSession
    root: Path
    rules: Mapping[str, object] = field(default_factory=dict)
    tables: str = "tables"

    def settings(self, **rules: object) -> Settings:
        sets = {
            "store.root": self.root / self.tables, "source.path": f"{self.root}/logs/{{date}}/*",
            "events.max_rejected_share": 1.0, "bots.max_user_share": 1.0,
            **self.rules, **{name.replace("__", "."): value for name, value in rules.items()},
        }  # fmt: skip
        return overlays.load(assignments=[f"{name}={value}" for name, value in sets.items()])

    def write(self, day: int, lines: Iterable[str], name: str = "1.json") -> None:
        path = self.root / "logs" / f"2024-01-{day:02}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def run(self, job: Job, first: int, last: int = 0, **rules: object) -> Outcome:
        days = date(2024, 1, first), date(2024, 1, last or first)
        return execute(job, self.settings(**rules), self.spark, *days)

    def clean(self, first: int, last: int = 0, **rules: object) -> Outcome:
        return done(self.run(clean_events.JOB, first, last, **rules))

    def replay(self, first: int, last: int = 0, **rules: object) -> Outcome:
        return done(self.run(replay_rejected.JOB, first, last, **rules))

    def rows(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        found = Store(self.spark, self.settings().store).read(table).select(*(columns or table.names)).collect()
        return sorted((tuple(row) for row in found), key=repr)

    def contents(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        return self.rows(EVENTS), self.rows(REJECTED_EVENTS)

    def version(self, table: Table) -> int | None:
        return Store(self.spark, self.settings().store).current_version(table)


def done(outcome: Outcome) -> Outcome:
    assert outcome.exit_code == 0, outcome.reason
    return outcome


MakeShop = Callable[..., Shop]
