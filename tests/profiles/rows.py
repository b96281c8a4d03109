"""Small events and seeds for the kernel of snapshots.py, and the same told once more in plain Python."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import pyarrow as pa

from nextaisle.contract.tokens import EVENT_TYPES
from nextaisle.profiles.blocks import Rules
from nextaisle.profiles.funnel import CART_PURCHASED, CARTED, VIEW_PURCHASED, VIEWED
from nextaisle.profiles.snapshots import profile_rows

FIRST_DAY = date(2024, 1, 1)  # a Monday
RULES = Rules(("view", "cart", "purchase"), favourites=2, window_days=2, max_distinct=100)
MONEY = pa.decimal128(18, 4)
FUNNEL = {
    "viewed_count": VIEWED, "carted_count": CARTED, "cart_purchased_count": CART_PURCHASED,
    "view_purchased_count": VIEW_PURCHASED,
}  # fmt: skip
_NAMED = [("event_count", pa.int64())]
SCHEMA = pa.schema(
    {
        "user_id": pa.string(), "event_date": pa.date32(), "event_time": pa.timestamp("us", "UTC"),
        "hour": pa.int32(), "weekday": pa.int32(), "event_type": pa.string(), "item_id": pa.string(),
        "category": pa.string(), "brand": pa.string(), "money": MONEY, "steps": pa.int32(), "paid_money": MONEY,
        "mean_price_money": MONEY, "event_counts": pa.map_(pa.string(), pa.int64()),
        "event_money": pa.map_(pa.string(), MONEY), "active_day_count": pa.int64(), "first_event_date": pa.date32(),
        "first_purchase_date": pa.date32(), "last_purchase_date": pa.date32(), "purchase_day_count": pa.int64(),
        "repeat_purchase_count": pa.int64(), **{name: pa.int64() for name in FUNNEL},
        "category_counts": pa.list_(pa.struct([("category", pa.string()), *_NAMED])),
        "brand_counts": pa.list_(pa.struct([("brand", pa.string()), *_NAMED])),
        "hour_counts": pa.list_(pa.int64()), "weekday_counts": pa.list_(pa.int64()),
        "recent_category_counts": pa.list_(
            pa.struct([("event_date", pa.date32()), ("category", pa.string()), *_NAMED])
        ),
        "bought_item_ids": pa.list_(pa.string()),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """An event on the n-th day of 2024; category and brand are those of its item: "a1" is of category "a"."""

    user: str
    day: int
    kind: str = "view"
    item: str | None = "a1"
    hour: int = 12
    money: str | None = None
    mean: str | None = None
    steps: int = 0

    @property
    def date(self) -> date:
        return FIRST_DAY + timedelta(days=self.day - 1)

    @property
    def time(self) -> datetime:
        return datetime(self.date.year, self.date.month, self.date.day, self.hour, tzinfo=UTC)

    @property
    def category(self) -> str | None:
        return self.item and self.item[0]

    @property
    def brand(self) -> str | None:
        return self.item and f"brand {self.item[1]}"

    def row(self) -> dict[str, Any]:
        return {
            "user_id": self.user, "event_date": self.date, "event_time": self.time, "hour": self.hour,
            "weekday": self.date.isoweekday(), "event_type": self.kind, "item_id": self.item,
            "category": self.category, "brand": self.brand, "money": _decimal(self.money), "steps": self.steps,
            "paid_money": _decimal(self.money if self.mean else None), "mean_price_money": _decimal(self.mean),
        }  # fmt: skip


def table(events: Iterable[Event], seeds: pa.Table | None = None) -> pa.Table:
    rows = pa.Table.from_pylist([event.row() for event in events], SCHEMA)
    if seeds is not None:
        rows = pa.concat_tables([rows, seeds])
    return rows.sort_by([("user_id", "ascending"), ("event_date", "ascending")])


def build(rows: pa.Table, rules: Rules = RULES) -> pa.Table:
    """The kernel's rows; `rows` come in chunks, as from Spark."""
    rows = pa.Table.from_batches(rows.to_batches(max_chunksize=3))
    return pa.Table.from_batches(list(profile_rows(rows, rules)))


def seeds_of(profiles: pa.Table) -> pa.Table:
    """Each user's latest row, as the kernel's input."""
    last = {user: place for place, user in enumerate(profiles["user_id"].to_pylist())}
    latest = profiles.take(sorted(last.values())).rename_columns(
        ["event_date" if name == "as_of_date" else name for name in profiles.column_names]
    )
    columns = [
        latest[name].cast(field.type) if name in latest.column_names else pa.nulls(len(latest), field.type)
        for name, field in zip(SCHEMA.names, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def expected(events: Sequence[Event], rules: Rules = RULES) -> list[dict[str, Any]]:
    """Every row, each counted from the user's whole past, one event after the other."""
    found = []
    for user, own in groupby(sorted(events, key=lambda e: e.user), key=lambda e: e.user):
        past: list[Event] = []
        for _, today in groupby(sorted(own, key=lambda e: e.day), key=lambda e: e.day):
            past += today
            found.append(_row(user, past, rules))
    return found


def _row(user: str, past: list[Event], rules: Rules) -> dict[str, Any]:
    today, bought = past[-1].date, [event for event in past if event.kind == "purchase"]
    interest = [event for event in past if event.kind in rules.interest_event_types]
    remembered = _first_seen([(e.date, e.item) for e in bought if e.item], rules.max_distinct)
    counts = {name: _counts(interest, name, rules.max_distinct) for name in ("category", "brand")}
    hours, weekdays = Counter(e.hour for e in interest), Counter(e.date.isoweekday() for e in interest)
    daily = Counter((e.date, e.category) for e in interest if e.category in dict(counts["category"]))
    window, two = timedelta(days=rules.window_days), timedelta(days=2 * rules.window_days)
    recent = {key: count for key, count in daily.items() if key[0] > today - two}
    bits = {
        "category_entropy": _entropy_or_none([count for _, count in counts["category"]]),
        "recent_entropy": _entropy_or_none(_window({k: n for k, n in recent.items() if k[0] > today - window})),
        "earlier_entropy": _entropy_or_none(_window({k: n for k, n in recent.items() if k[0] <= today - window})),
    }
    has_both = None not in (bits["recent_entropy"], bits["earlier_entropy"])
    paid, mean = (
        sum((Decimal(money or 0) for money in each), Decimal(0))
        for each in ((e.money for e in past if e.mean), (e.mean for e in past))
    )
    repeats = sum(e.item in remembered and e.date > remembered[e.item] for e in bought)
    return {
        "user_id": user, "as_of_date": today,
        "last_event_time": max(e.time for e in past), "first_event_date": past[0].date,
        "active_day_count": len({e.day for e in past}),
        "event_counts": [(k, n) for k in EVENT_TYPES if (n := sum(e.kind == k for e in past))],
        "event_money": [
            (k, sum(map(Decimal, priced)))
            for k in EVENT_TYPES
            if (priced := [e.money for e in past if e.kind == k and e.money])
        ],
        "first_purchase_date": min((e.date for e in bought), default=None),
        "last_purchase_date": max((e.date for e in bought), default=None),
        "purchase_day_count": len({e.day for e in bought}), "purchase_count": len(bought),
        "purchase_money": sum((Decimal(e.money) for e in bought if e.money), Decimal(0)),
        "repeat_purchase_count": repeats, "repeat_share": repeats / len(bought) if bought else None,
        "paid_money": paid, "mean_price_money": mean,
        "price_level": int(paid * 10_000) / int(mean * 10_000) if mean else None,
        **bits, "interest_drift": bits["recent_entropy"] - bits["earlier_entropy"] if has_both else None,
        **{name: sum(bool(e.steps & bit) for e in past) for name, bit in FUNNEL.items()},
        "category_counts": _named("category", counts["category"]), "brand_counts": _named("brand", counts["brand"]),
        "favourite_categories": _named("category", counts["category"][: rules.favourites]),
        "favourite_brands": _named("brand", counts["brand"][: rules.favourites]),
        "hour_counts": [hours[hour] for hour in range(24)], "weekday_counts": [weekdays[day] for day in range(1, 8)],
        "favourite_hours": _named("hour", _ordered(hours)[: rules.favourites]),
        "favourite_weekdays": _named("weekday", _ordered(weekdays)[: rules.favourites]),
        "recent_category_counts": [
            {"event_date": day, "category": name, "event_count": n} for (day, name), n in sorted(recent.items())
        ],
        "bought_item_ids": list(remembered),
    }  # fmt: skip


def entropy_of(counts: Sequence[int]) -> float:
    return sum(-count / sum(counts) * math.log2(count / sum(counts)) for count in counts)


def _entropy_or_none(counts: Sequence[int]) -> float | None:
    return round(entropy_of(counts), 12) if counts else None


def _first_seen(seen: Iterable[tuple[date, str]], most: int) -> dict[str, date]:
    first: dict[str, date] = {}
    for day, name in sorted(set(seen)):
        if name not in first and len(first) < most:
            first[name] = day
    return first


def _counts(interest: list[Event], name: str, most: int) -> list[tuple[Any, int]]:
    kept = _first_seen([(e.date, getattr(e, name)) for e in interest if getattr(e, name)], most)
    return _ordered(Counter(getattr(e, name) for e in interest if getattr(e, name) in kept))


def _ordered(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _named(name: str, entries: list[tuple[Any, int]]) -> list[dict[str, Any]]:
    return [{name: key, "event_count": count} for key, count in entries]


def _window(daily: dict[tuple[date, str], int]) -> list[int]:
    totals: Counter[str] = Counter()
    for (_, category), count in daily.items():
        totals[category] += count
    return [count for _, count in _ordered(totals)]


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text).quantize(Decimal("0.0001")) if text else None
