"""A shop of two users and two days, as rows of every table; and ways to spoil it.

| user | day 1         | day 2             |
|------|---------------|-------------------|
| u    | a, b (bought) | a search; a       |
| v    | a at 23:50    | b at 00:10        | one session over midnight
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal

from pyspark.sql import SparkSession

from nextaisle.config import Settings
from nextaisle.contract.tables import TABLES, Table

Row = dict[str, object]
DAY_1, DAY_2 = date(2024, 1, 1), date(2024, 1, 2)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, minute, tzinfo=UTC)


def event(event_id: str, user: str, time: datetime, item: str | None = "a", **other: object) -> Row:
    return {
        "event_id": event_id, "event_date": time.date(), "event_time": time, "user_id": user, "item_id": item,
        "event_type": "view" if item else "search", "ingest_date": time.date(), **other,
    }  # fmt: skip


def session(session_id: str, user: str, *events: tuple[datetime, str | None], **other: object) -> Row:
    """A session of views, and of searches where there is no item."""
    times, count = [time for time, _ in events], len(events)
    return {
        "session_id": session_id, "session_date": times[0].date(), "user_id": user, "start_time": times[0],
        "end_time": times[-1], "event_count": count, "item_ids": [item for _, item in events],
        "event_types": ["view" if item else "search" for _, item in events], "event_times": times,
        "prices": [None] * count, "quantities": [None] * count, **other,
    }  # fmt: skip


def sequence(user: str, day: int, *events: tuple[datetime, str], **other: object) -> Row:
    count = len(events)
    return {
        "user_id": user, "as_of_date": date(2024, 1, day), "event_count": count, "item_ids": [i for _, i in events],
        "item_indices": [" ab".index(item) for _, item in events], "event_types": ["view"] * count,
        "event_times": [time for time, _ in events], "prices": [None] * count, "is_session_start": [True] * count,
        **other,
    }  # fmt: skip


def item(item_id: str, index: int, **other: object) -> Row:
    return {
        "item_id": item_id, "item_index": index, "valid_from": date(1970, 1, 1), "category": item_id.upper(),
        "first_seen_date": DAY_1, "last_seen_date": DAY_2, **other,
    }  # fmt: skip


def user(user_id: str, **other: object) -> Row:
    return {"user_id": user_id, "valid_from": date(1970, 1, 1), "region": "north", **other}


def link(linked_id: str, user_id: str | None) -> Row:
    return {"id": linked_id, "linked_date": date(1970, 1, 1), "user_id": user_id}


def source_file(path: str, day: date, records: int, accepted: int, **other: object) -> Row:
    return {
        "path": path, "size": 1, "modified_time": at(1, 0), "ingest_date": day, "record_count": records,
        "accepted_count": accepted, "rejected_count": 0, "duplicate_count": 0, **other,
    }  # fmt: skip


def refused(path: str, digest: str, **other: object) -> Row:
    return {
        "path": path, "record_hash": digest, "ordinal": 1, "reason": "missing_user", "record": b"x",
        "ingest_date": DAY_1, **other,
    }  # fmt: skip


def example(example_id: int, **other: object) -> Row:
    return {
        "example_id": example_id, "as_of_date": DAY_2, "split": "train", "length": 1, "item_indices": [1, 0],
        "event_type_indices": [1, 0], "is_session_end": [0, 0], "target_indices": [2, 0], **other,
    }  # fmt: skip


def recommended(user: str, rank: int, item_id: str, score: float = 0.0, **other: object) -> Row:
    return {
        "user_id": user, "score_date": DAY_2, "variant": "default", "rank": rank, "item_id": item_id,
        "score": float(score or 1 / rank), "reason": "model", "model_version": "1", **other,
    }  # fmt: skip


def profile(user_id: str, day: int, **other: object) -> Row:
    """Of somebody who viewed one item on that day, and nothing before."""
    return {
        "user_id": user_id, "as_of_date": date(2024, 1, day), "last_event_time": at(day, 12),
        "first_event_date": date(2024, 1, day), "active_day_count": 1, "event_counts": {"view": 1}, "event_money": {},
        "purchase_day_count": 0, "purchase_count": 0, "purchase_money": Decimal(0), "repeat_purchase_count": 0,
        "favourite_categories": [], "favourite_brands": [], "favourite_hours": [], "favourite_weekdays": [],
        "paid_money": Decimal(0), "mean_price_money": Decimal(0), "viewed_count": 1, "carted_count": 0,
        "cart_purchased_count": 0, "view_purchased_count": 0, "category_counts": [], "brand_counts": [],
        "hour_counts": [0] * 12 + [1] + [0] * 11, "weekday_counts": [1] + [0] * 6, "recent_category_counts": [],
        "bought_item_ids": [], **other,
    }  # fmt: skip


def category_price(category: str, **other: object) -> Row:
    return {
        "category": category, "event_date": DAY_1, "purchase_count": 1, "pieces": Decimal(1), "money": Decimal("2.5"),
        **other,
    }  # fmt: skip


def edge(from_item: str, to_item: str, **other: object) -> Row:
    return {
        "from_item_id": from_item, "to_item_id": to_item, "kind": "view_purchase", "distance": 1, "event_date": DAY_1,
        "pair_count": 1, **other,
    }  # fmt: skip


def evaluated(model: str, **other: object) -> Row:
    return {
        "run_id": "r", "model": model, "protocol": "time-window", "split": "test", "segment": "all",
        "metric": "ndcg_at_10", "value": 0.5, "low": 0.4, "high": 0.6, "cases": 9, **other,
    }  # fmt: skip


def user_case(user_id: str, **other: object) -> Row:
    return {
        "run_id": "r", "model": "popular", "protocol": "time-window", "split": "test", "user_id": user_id, "cases": 3,
        "metrics": {"ndcg_at_10": 0.5}, **other,
    }  # fmt: skip


def judged(run_id: str, hour: int) -> Row:
    """A run of evaluate_model."""
    return {
        "run_id": run_id, "job": "evaluate_model", "job_key": "k", "rules_key": "k", "outcome": "done",
        "versions_read": {}, "versions_written": {}, "rows": {}, "bytes_written": 0, "tracking_run_id": run_id,
        "started_time": at(3, hour), "seconds": 1.0,
    }  # fmt: skip


def good_tables() -> dict[str, list[Row]]:
    price, one = Decimal("2.5000"), Decimal("1.000")
    bought = {"event_types": ["view", "purchase"], "prices": [None, price], "quantities": [None, one]}
    remembered = {name: bought[name] for name in ("event_types", "prices")}
    return {
        "source_files": [
            source_file("f1", DAY_1, 4, 3, rejected_count=1), source_file("f2", DAY_2, 4, 3, duplicate_count=1),
        ],
        "rejected_events": [refused("f1", "h")],
        "events": [
            event("e1", "u", at(1, 10)),
            event("e2", "u", at(1, 10, 10), "b", event_type="purchase", price=price, quantity=one),
            event("e3", "v", at(1, 23, 50)), event("e4", "v", at(2, 0, 10), "b"),
            event("e5", "cookie", at(2, 9), None), event("e6", "u", at(2, 9, 5)),
        ],
        "sessions": [
            session("u1", "u", (at(1, 10), "a"), (at(1, 10, 10), "b"), **bought),
            session("v1", "v", (at(1, 23, 50), "a"), (at(2, 0, 10), "b")),
            session("u2", "u", (at(2, 9), None), (at(2, 9, 5), "a")),
        ],
        "sequences": [
            sequence("u", 1, (at(1, 10), "a"), (at(1, 10, 10), "b"), **remembered),
            sequence("v", 1, (at(1, 23, 50), "a")),
            sequence("u", 2, (at(1, 10), "a"), (at(1, 10, 10), "b"), (at(2, 9, 5), "a")),
            sequence("v", 2, (at(1, 23, 50), "a"), (at(2, 0, 10), "b")),
        ],
        "items": [item("a", 1), item("b", 2)],
        "identities": [link("cookie", "u")],
        "users": [user("u"), user("listed")],
        "examples": [example(1), example(2)],
        "recommendations": [
            recommended("u", 1, "b"), recommended("u", 2, "a"), recommended("v", 1, "a"),
            recommended("listed", 1, "a", 7.0, reason="popular"),
        ],
        "user_profiles": [
            profile(
                "u", 1, event_counts={"view": 1, "purchase": 1}, purchase_day_count=1, purchase_count=1,
                first_purchase_date=DAY_1, last_purchase_date=DAY_1, view_purchased_count=0, category_entropy=0.0,
            ),
            profile("v", 1),
            profile(
                "u", 2, first_event_date=DAY_1, active_day_count=2, purchase_day_count=1,
                event_counts={"view": 2, "purchase": 1, "search": 1}, purchase_count=1, first_purchase_date=DAY_1,
                last_purchase_date=DAY_1, category_entropy=1.0, repeat_share=0.0,
            ),
            profile("v", 2, first_event_date=DAY_1, active_day_count=2),
        ],
        "category_prices": [category_price("B")],
        "item_graph": [edge("a", "b"), edge("a", "b", kind="co_purchase", distance=0)],
        "evaluations": [evaluated("candidate"), evaluated("popular")],
        "evaluation_cases": [user_case("u"), user_case("v", cases=6), user_case("older", run_id="before", cases=0)],
        "job_runs": [judged("before", 1), judged("r", 2)],
    }  # fmt: skip


def write_tables(spark: SparkSession, settings: Settings, tables: Mapping[str, Iterable[Row]]) -> None:
    """Spark writes them, not store.py: no column is NOT NULL, and nothing is checked."""
    for name, rows in tables.items():
        write_table(spark, settings, TABLES[name], rows)


def write_table(spark: SparkSession, settings: Settings, table: Table, rows: Iterable[Row]) -> None:
    nullable = deepcopy(table.schema)
    for field in nullable:
        field.nullable = True
    full = [tuple(row.get(name) for name in table.names) for row in rows]
    writer = spark.createDataFrame(full, nullable).coalesce(1).write.format("delta").mode("overwrite")
    writer.partitionBy(*table.partition).save(f"{settings.store.root}/{table.name}")
