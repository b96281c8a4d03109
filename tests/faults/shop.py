"""A small shop whose last day brings late events, repetitions, broken lines and a bot, and all that is built of it."""

import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.nightly import DAYS as DATA_JOBS
from nextaisle import config, overlays
from nextaisle.config import Settings
from nextaisle.contract.tables import IDENTITIES, USERS
from nextaisle.job import execute
from nextaisle.storage.store import Store
from nextaisle.synthetic import write_logs

NIGHT = date(2024, 1, 4)
CHAIN = "tests/faults/data_chain"
OVERLAY = config.home() / "conf" / "synthetic.toml"
# The shop has no list of users and no second ids.
TABLES = tuple(table for job in DATA_JOBS for table in job.writes if table not in (USERS, IDENTITIES))


@dataclass(frozen=True)
class Shop:
    """Logs of four days, and tables at `tables` that lack the last of them."""

    spark: SparkSession
    logs: Path
    tables: Path

    @property
    def sets(self) -> list[str]:
        sets = {
            "source.path": f"{self.logs}/log_date={{date}}/*.gz", "items.path": f"{self.logs}/items.parquet",
            "store.root": self.tables, "synthetic.users": 60, "synthetic.days": NIGHT.day, "synthetic.items": 40,
            "synthetic.broken_share": 0.01, "synthetic.duplicate_share": 0.01, "synthetic.late_share": 0.02,
            "synthetic.bots": 1,
        }  # fmt: skip
        return [f"{key}={value}" for key, value in sets.items()]

    @property
    def settings(self) -> Settings:
        return overlays.load([OVERLAY], self.sets)

    def copied(self, root: Path) -> "Shop":
        shutil.copytree(self.tables, root, dirs_exist_ok=True)
        return replace(self, tables=root)

    def words(self) -> list[str]:
        """The command line of a job for the last day."""
        return ["--date", str(NIGHT), "--conf", str(OVERLAY), *(word for each in self.sets for word in ("--set", each))]

    def build(self, first: date = NIGHT, last: date = NIGHT) -> None:
        for job in DATA_JOBS:
            outcome = execute(job, self.settings, self.spark, first, last)
            assert outcome.exit_code == 0, outcome.reason

    def contents(self) -> dict[str, list[Any]]:
        """The rows of every table, sorted."""
        store = Store(self.spark, self.settings.store)
        found = {table.name: [tuple(row) for row in store.read(table).collect()] for table in TABLES}
        return {name: sorted(rows, key=repr) for name, rows in found.items()}


def shop_before_its_last_day(spark: SparkSession, root: Path) -> Shop:
    shop = Shop(spark, root / "logs", root / "tables")
    write_logs(spark, shop.settings.synthetic, str(shop.logs))
    shop.build(date(2024, 1, 1), date(2024, 1, NIGHT.day - 1))
    return shop
