"""Suites of what clean_events writes: source_files, rejected_events, events."""

from typing import Final

from nextaisle.contract.reasons import REASONS
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SOURCE_FILES
from nextaisle.contract.tokens import EVENT_TYPES, EVENT_TYPES_WITHOUT_ITEM
from nextaisle.quality.expectations import WARNING, Expectation, Suite, not_null, unique
from nextaisle.quality.suites.words import listed, local_day

_SOURCE_FILES = Suite(
    SOURCE_FILES,
    "select *, ingest_date as day from {source_files}",
    SOURCE_FILES.key,
    (
        not_null(SOURCE_FILES),
        Expectation("reconciled_records", "accepted_count + rejected_count + duplicate_count = record_count"),
        Expectation("accepted_range_counts", "least(size, accepted_count, rejected_count, duplicate_count) >= 0"),
    ),
)

_REFUSALS = Suite(
    REJECTED_EVENTS,
    "select *, ingest_date as day from {rejected_events}",
    REJECTED_EVENTS.key,
    (not_null(REJECTED_EVENTS), Expectation("accepted_values_reason", f"reason in ({listed(REASONS)})")),
)

# A file that was read twice has a row for each time; the refused records are those of the last time, or fewer: what was
# refused for its user's day has no path, and a replay takes records away.
_REFUSED_OF_FILES = Suite(
    REJECTED_EVENTS,
    """
    select refused.ingest_date as day, path, count(*) as refused_count, any_value(counts) as counts
    from {rejected_events} as refused
    left join (select path, max(rejected_count) as counts from {source_files} group by path) using (path)
    where path <> ''
    group by refused.ingest_date, path
    """,
    ("path",),
    (Expectation("reconciled_source_files", "refused_count <= counts"),),
)

_EVENTS = Suite(
    EVENTS,
    "select *, event_date as day from {events}",
    EVENTS.key,
    (
        not_null(EVENTS),
        # Of a type that is none of ours nobody knows whether it has an item.
        Expectation(
            "not_null_item_id",
            f"item_id is not null or event_type in ({listed(EVENT_TYPES_WITHOUT_ITEM)}) "
            f"or event_type not in ({listed(EVENT_TYPES)})",
        ),
        Expectation("accepted_values_event_type", f":keeps_types or event_type in ({listed(EVENT_TYPES)})"),
        Expectation("day_of_event_time", f"{local_day('event_time')} = event_date"),
        # Shops book corrections as prices below zero.
        Expectation("accepted_range_price", "price is null or price >= 0", WARNING),
        Expectation("accepted_range_rating", "rating is null or not isnan(rating)", WARNING),
        Expectation("accepted_range_position", "position is null or position >= 1", WARNING),
    ),
)

OF_LOGS: Final = (
    _SOURCE_FILES,
    unique(SOURCE_FILES, day="ingest_date"),
    _REFUSALS,
    _REFUSED_OF_FILES,
    unique(REJECTED_EVENTS),
    _EVENTS,
    unique(EVENTS),
)
