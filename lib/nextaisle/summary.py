"""What a person reads at the end of a night: rows per table, the model against the baselines, some users' lists."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from nextaisle.config import Settings, without_secrets
from nextaisle.contract.tables import DATA_QUALITY, EVALUATIONS, ITEMS, RECOMMENDATIONS, TABLES
from nextaisle.job import Outcome
from nextaisle.storage.store import Store

USERS_SHOWN = 10
ITEMS_SHOWN = 5
CHECKS_SHOWN = 10
METRICS_SHOWN = ("ndcg_at_10", "hr_at_10", "recall_at_10", "mrr_at_10")


def show_summary(settings: Settings, store: Store, outcomes: Sequence[Outcome], day: date) -> None:
    """Prints the night of `day` to standard error."""
    console = Console(stderr=True, width=None if Console(stderr=True).is_terminal else 120)
    run_id = next((outcome.tracking_run_id for outcome in outcomes if outcome.job == "train_model"), "")
    console.rule(f"night of {day}")
    console.print(_steps(outcomes))
    console.print(_tables(store))
    console.print(_failed_checks(store, day))
    console.print(_evaluation(store.read(EVALUATIONS).where(F.col("run_id") == run_id)))
    console.print(_lists(store, settings, day))
    console.print(f"The tables are in [bold]{store.location(RECOMMENDATIONS).removesuffix(RECOMMENDATIONS.name)}[/]")
    uri = without_secrets(settings.tracking.uri)
    console.print(f"To see the run: [bold].venv/bin/mlflow ui --backend-store-uri {uri}[/]")


def _steps(outcomes: Sequence[Outcome]) -> Grid:
    grid = _grid("What was done", "job", "outcome", "seconds", "rows")
    for outcome in outcomes:
        counts = ", ".join(f"{name} {_told(name, count)}" for name, count in outcome.rows.items())
        grid.add_row(outcome.job, outcome.outcome, f"{outcome.seconds:.0f}", counts)
    return grid


def _told(name: str, count: int) -> str:
    """1234 as 1,234, and of what is done `through` a day, 20171130 as 2017-11-30."""
    return str(date.fromisoformat(str(count))) if name.endswith("_through") else f"{count:,}"


def _tables(store: Store) -> Grid:
    grid = _grid("Tables", "table", "rows", "one row")
    for table in TABLES.values():
        if store.exists(table):
            grid.add_row(table.name, f"{store.read(table).count():,}", table.comment.split(".")[0].split(":")[0])
    return grid


def _failed_checks(store: Store, day: date) -> Grid:
    """Warnings through `day`, the newest first: an error would have ended the night."""
    failed = store.read(DATA_QUALITY).where((F.col("outcome") == "failed") & (F.col("check_date") <= F.lit(day)))
    worst = failed.groupBy("table_name", "check_name").agg(
        F.count("*").alias("days"), F.max(F.struct("check_date", "value", "expected")).alias("newest")
    )
    newest_first = worst.orderBy(F.desc("newest.check_date"), "table_name", "check_name").limit(CHECKS_SHOWN)
    grid = _grid("Checks that warn", "check", "days", "last on", "found", "expected")
    for row in newest_first.collect():
        newest = row["newest"]
        check = f"{row['table_name']}.{row['check_name']}"
        grid.add_row(check, f"{row['days']}", f"{newest['check_date']}", f"{newest['value']:.3g}", newest["expected"])
    return grid


def _evaluation(rows: DataFrame) -> Grid:
    """Best NDCG@10 first, each metric with its 95 % interval."""
    found = {(row["model"], row["metric"]): row for row in rows.where(F.col("segment") == "all").collect()}
    grid = _grid("On days that no model had seen: mean (95 % interval)", "model", *METRICS_SHOWN)
    for model in sorted({name for name, _ in found}, key=lambda name: -_value(found, name)):
        cells = [found.get((model, metric)) for metric in METRICS_SHOWN]
        grid.add_row(model, *(f"{c['value']:.4f} ({c['low']:.4f}..{c['high']:.4f})" if c else "" for c in cells))
    return grid


def _value(found: dict[tuple[str, str], Row], model: str) -> float:
    row = found.get((model, METRICS_SHOWN[0]))
    return float(row["value"]) if row else 0.0


def _lists(store: Store, settings: Settings, day: date) -> Grid:
    """Some users, chosen by hash, and the names of their first items."""
    shown = (F.col("score_date") == F.lit(day)) & (F.col("variant") == settings.scoring.variant)
    rows = store.read(RECOMMENDATIONS).where(shown & (F.col("rank") <= ITEMS_SHOWN))
    users = rows.select("user_id").distinct().orderBy(F.xxhash64("user_id"), "user_id").limit(USERS_SHOWN)
    lists = rows.join(users, "user_id").join(F.broadcast(_names(store)), "item_id", "left")
    name = F.coalesce("title", "item_id")
    items = F.array_sort(F.collect_list(F.struct("rank", name.alias("name"))))["name"]
    grid = _grid(f"Recommendations for {USERS_SHOWN} users, the first {ITEMS_SHOWN}", "user", "items")
    for row in lists.groupBy("user_id").agg(items.alias("names")).orderBy("user_id").collect():
        grid.add_row(row["user_id"], " · ".join(row["names"]))
    return grid


def _names(store: Store) -> DataFrame:
    newest = Window.partitionBy("item_id").orderBy(F.desc("valid_from"))
    latest = store.read(ITEMS).withColumn("age", F.row_number().over(newest)).where("age = 1")
    return latest.select("item_id", "title")


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid
