"""Sessions to rows of the table user_profiles: one shuffle by item, one by user, then the kernel of snapshots.py.

A build goes on from each concerned user's latest row before the first changed day, and reads of sessions only what has
events since. The row holds all that goes on (counts by category, brand and clock, the last two windows by day, the
items bought), so of history a night reads whom each file of the table has, and the latest rows of its users. The
other way, to count each night from all sessions of the users concerned, reads every session that there is. The price
is a row of a few kilobytes (a grocer's: 5) where the short lists alone would be some hundred bytes.

What a profile takes from other users, a category's mean price, is of the days up to an event's own: later nights find
a seed's sums unchanged, and the rows of all days since the first changed one are made anew.

The rows are meant for point-in-time joins, as Feast has them: the latest row at or before a day, never one after it.
RFM as in Fader, Hardie and Lee, RFM and CLV, Journal of Marketing Research 42 (2005), and in the package lifetimes,
whose frequency is purchase_day_count - 1.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import changed_sessions
from nextaisle.config import Profiles
from nextaisle.contract.tables import USER_PROFILES
from nextaisle.profiles.attributes import with_attributes
from nextaisle.profiles.blocks import BLOCK_ROWS, Rules
from nextaisle.profiles.funnel import EVENT_SCHEMA, session_events
from nextaisle.profiles.prices import mean_prices, with_mean_money, with_money
from nextaisle.profiles.snapshots import MONEY, profile_rows
from nextaisle.storage.kernels import ArrowRows, Batches, Part, whole_users
from nextaisle.storage.latest_rows import FilesOfUsers, LatestRows, seeds_first, with_hashes_of
from nextaisle.storage.user_ranges import dealt_by_user

# What the kernel takes of an event.
_EVENT: Final = (
    "user_id", "event_date", "event_time", "hour", "weekday", "event_type", "item_id", "category", "brand", "money",
    "steps", *MONEY,
)  # fmt: skip
# What is taken of a seed, a row of user_profiles.
SEED: Final = ("as_of_date", *USER_PROFILES.carried)


def events_since(sessions: DataFrame, items: DataFrame, first: date, rules: Profiles, zone: str) -> DataFrame:
    """The events of the days from `first` on, with their clock in the shop's zone, their item's attributes and money.

    A session that began before `first` is read whole, and keeps its steps of the funnel.
    """
    lists = ("user_id", "item_ids", "event_types", "event_times", "prices", "quantities")
    events = changed_sessions(sessions, first, zone).select(*lists).mapInArrow(session_events, EVENT_SCHEMA)
    local = F.from_utc_timestamp("event_time", zone)
    clock = {"event_date": local.cast("date"), "hour": F.hour(local), "weekday": F.weekday(local) + 1}
    dated = events.withColumns(clock).where(F.col("event_date") >= F.lit(first))
    return with_money(with_attributes(dated, items, rules.category))


def rebuild_profiles(events: DataFrame, seeds: LatestRows, category_prices: DataFrame, rules: Profiles) -> ArrowRows:
    """Rows of user_profiles for the days of `events` (events_since); `seeds` (SEED) their users' latest rows before."""
    means, files = mean_prices(category_prices, rules.price_days), seeds.files
    known = seeds.rows.select(*SEED).withColumnRenamed("as_of_date", "event_date")
    rows = with_mean_money(events, means).select(*_EVENT).unionByName(known, allowMissingColumns=True)
    kernel_rules = Rules(rules.interest_event_types, rules.favourites, rules.window_days, rules.max_distinct)
    most = BLOCK_ROWS // 2 if files else BLOCK_ROWS  # and as many seeds

    def snapshots(batches: Batches) -> Iterator[pa.RecordBatch]:
        for block in whole_users(batches, most):
            for made in profile_rows(_with_seeds(block, files) if files else block, kernel_rules):
                yield with_hashes_of(block, made)

    by_user = dealt_by_user(rows, "event_date", has_seeds=files is not None)
    return ArrowRows(USER_PROFILES, (Part(by_user, snapshots),))


def _with_seeds(block: pa.Table, files: FilesOfUsers) -> pa.Table:
    seeds = files.latest_rows(block)
    return seeds_first(block, seeds.append_column("event_date", seeds["as_of_date"]))
