"""What must hold of every table: data, no code. A table's rows are read once for all that one row can tell."""

from typing import Final

from nextaisle.contract.reasons import REASONS
from nextaisle.contract.tables import (
    EVALUATIONS,
    EVENTS,
    EXAMPLES,
    IDENTITIES,
    ITEMS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    SEQUENCES,
    SESSIONS,
    SOURCE_FILES,
    USERS,
)
from nextaisle.contract.tokens import EVENT_TYPES, EVENT_TYPES_WITHOUT_ITEM
from nextaisle.quality.expectations import WARNING, Expectation, Suite, not_null, unique

# A session is at most 24 hours long, and a day at least 23: an event may belong to a session of two days before.
DAYS_SPANNED: Final = 2

# Under this name a suite sees the sequences of all days.
HISTORIES: Final = "histories"
# Under this name it sees events under the users that their ids are linked to, as sessions have them.
LINKED_EVENTS: Final = "linked_events"
# A table without days is checked as it is, under the last day that is checked.
_AS_IT_IS: Final = "cast(:last as date)"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _local_day(instant: str) -> str:
    return f"cast(from_utc_timestamp({instant}, :time_zone) as date)"


def _same_lengths(length: str, *arrays: str) -> str:
    return " and ".join(f"size({array}) = {length}" for array in arrays)


_NO_NULLS: Final = "not exists(event_types, type -> type is null)"
_KNOWN_TYPES: Final = (
    f"{_NO_NULLS} and (:keeps_types or size(array_except(event_types, array({_listed(EVENT_TYPES)}))) = 0)"
)
_LAST_TIME: Final = "get(event_times, size(event_times) - 1)"
_ASCENDING: Final = "sort_array(event_times) = event_times"

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
    (not_null(REJECTED_EVENTS), Expectation("accepted_values_reason", f"reason in ({_listed(REASONS)})")),
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
            f"item_id is not null or event_type in ({_listed(EVENT_TYPES_WITHOUT_ITEM)}) "
            f"or event_type not in ({_listed(EVENT_TYPES)})",
        ),
        Expectation("accepted_values_event_type", f":keeps_types or event_type in ({_listed(EVENT_TYPES)})"),
        Expectation("day_of_event_time", f"{_local_day('event_time')} = event_date"),
        # Shops book corrections as prices below zero.
        Expectation("accepted_range_price", "price is null or price >= 0", WARNING),
        Expectation("accepted_range_rating", "rating is null or not isnan(rating)", WARNING),
        Expectation("accepted_range_position", "position is null or position >= 1", WARNING),
    ),
)


# Collapsed events are told by their counts alone: of a run the first is left.
_IS_WHOLE: Final = "not array_contains(from_json(:collapse_types, 'array<string>'), event_types)"
# Rows of an earlier release have no counts.
_COUNTS: Final = "coalesce(counts, transform(event_times, time -> 1))"


def _checksum(name: str) -> str:
    """Equal for the same events in any order. 40 bits of each hash, so that the sum of millions stays an integer."""
    event = "xxhash64(event_times, item_ids, event_types, prices, quantities)"
    return f"sum(shiftright({event}, 24)) filter (where {_IS_WHOLE}) as {name}"


# What a user did on a day, as events, sessions and sequences have it.
_USER_DAYS = Suite(
    EVENTS,
    f"""
    with happened as (
      select day, user_id, count(*) as event_count, count(item_ids) as item_count, {_checksum("event_checksum")}
      from (
        select event_date as day, user_id, event_time as event_times, item_id as item_ids, event_type as event_types,
          price as prices, quantity as quantities from {{linked_events}}
      ) group by day, user_id
    ), visited as (
      select day, user_id, sum(counts) as visit_count, {_checksum("visit_checksum")}
      from (
        select user_id, {_local_day("event.event_times")} as day, event.*
        from (select * except (counts), {_COUNTS} as counts from {{sessions}})
        lateral view explode(arrays_zip(event_times, item_ids, event_types, prices, quantities, counts)) as event
      ) group by day, user_id
    ), remembered as (
      select as_of_date as day, user_id, count(*) as history_count from {{sequences}} group by as_of_date, user_id
    )
    select day, user_id, event_checksum, visit_checksum, coalesce(event_count, 0) as event_count,
      coalesce(item_count, 0) as item_count, coalesce(visit_count, 0) as visit_count,
      coalesce(history_count, 0) as history_count
    from happened full join visited using (day, user_id) full join remembered using (day, user_id)
    """,
    ("user_id",),
    (
        Expectation("reconciled_session_counts", "visit_count = event_count"),
        Expectation("reconciled_sessions", "visit_checksum <=> event_checksum"),
        # Of compacted days most rows are gone.
        Expectation(
            "reconciled_sequences",
            "(history_count > 0) = (item_count > 0) or (day <= :compacted_through and history_count = 0)",
        ),
    ),
)

_IDENTITIES = Suite(
    IDENTITIES, f"select *, {_AS_IT_IS} as day from {{identities}}", IDENTITIES.key, (not_null(IDENTITIES),)
)

_SESSIONS = Suite(
    SESSIONS,
    "select *, session_date as day from {sessions}",
    SESSIONS.key,
    (
        not_null(SESSIONS),
        Expectation("accepted_range_event_count", "event_count >= 1"),
        Expectation(
            "equal_lengths",
            _same_lengths("event_count", "item_ids", "event_types", "event_times", "prices", "quantities"),
        ),
        Expectation(
            "accepted_range_counts", "counts is null or (size(counts) = event_count and array_min(counts) >= 1)"
        ),
        Expectation("accepted_values_event_types", _KNOWN_TYPES),
        Expectation("ascending_event_times", _ASCENDING),
        Expectation(
            "ends_of_event_times",
            f"start_time = get(event_times, 0) and (end_time = {_LAST_TIME} or (end_time > {_LAST_TIME} and "
            "get(counts, size(counts) - 1) > 1))",
        ),
        Expectation("day_of_start_time", f"{_local_day('start_time')} = session_date"),
        Expectation(
            "accepted_range_duration", "unix_micros(end_time) - unix_micros(start_time) < :max_hours * 3600000000"
        ),
    ),
)

_SESSIONS_IN_ORDER = Suite(
    SESSIONS,
    """
    select session_date as day, session_id, user_id, start_time, max(end_time) over (
      partition by user_id, source_session_id order by start_time, session_id
      rows between unbounded preceding and 1 preceding) as earlier_end
    from {sessions}
    """,
    ("session_id", "user_id"),
    (Expectation("no_overlap", "earlier_end is null or start_time > earlier_end"),),
)

_SEQUENCES = Suite(
    SEQUENCES,
    "select *, as_of_date as day from {sequences}",
    ("user_id",),
    (
        not_null(SEQUENCES),
        Expectation(
            "equal_lengths",
            _same_lengths("size(item_ids)", "item_indices", "event_types", "event_times", "prices", "is_session_start"),
        ),
        Expectation("accepted_range_length", "size(item_ids) between 1 and least(event_count, :max_events)"),
        Expectation("accepted_values_event_types", _KNOWN_TYPES),
        Expectation("ascending_event_times", _ASCENDING),
        Expectation("day_of_last_event", f"{_local_day('get(event_times, size(event_times) - 1)')} = as_of_date"),
    ),
)

_SEQUENCE_ITEMS = Suite(
    SEQUENCES,
    """
    select day, item_id, item_index, known_index
    from (
      select distinct as_of_date as day, event.item_ids as item_id, event.item_indices as item_index
      from {sequences} lateral view explode(arrays_zip(item_ids, item_indices)) as event
    ) left join (select distinct item_id, item_index as known_index from {items}) using (item_id)
    """,
    ("item_id", "item_index"),
    (Expectation("relationships_items", "item_index = known_index"),),
)

_ITEMS = Suite(
    ITEMS,
    f"select *, {_AS_IT_IS} as day from {{items}}",
    ITEMS.key,
    (
        not_null(ITEMS),
        Expectation("accepted_range_item_index", "item_index >= 1"),
        Expectation("ascending_dates", "first_seen_date <= last_seen_date"),
        Expectation("accepted_range_price", "price is null or price >= 0", WARNING),
    ),
)

# Of the vocabulary as a whole: an item has one index, an index one item, and none is left out.
_ITEM_OF_INDEX = Suite(
    ITEMS,
    f"select {_AS_IT_IS} as day, item_index, count(distinct item_id) as item_count from {{items}} group by item_index",
    ("item_index",),
    (Expectation("unique_item_index", "item_count = 1"),),
)
_INDEX_OF_ITEM = Suite(
    ITEMS,
    f"select {_AS_IT_IS} as day, item_id, count(distinct item_index) as index_count from {{items}} group by item_id",
    ("item_id",),
    (Expectation("constant_item_index", "index_count = 1"),),
)
_LAST_INDEX = Suite(
    ITEMS,
    f"""
    select {_AS_IT_IS} as day, coalesce(max(item_index), 0) as last_index, count(distinct item_index) as index_count
    from {{items}}
    """,
    ("last_index", "index_count"),
    (Expectation("no_gaps_item_index", "last_index = index_count"),),
)

_USERS = Suite(USERS, f"select *, {_AS_IT_IS} as day from {{users}}", USERS.key, (not_null(USERS),))

_EXAMPLES = Suite(
    EXAMPLES,
    """
    select *, as_of_date as day
    from {examples} cross join (select coalesce(max(item_index), 0) as last_index from {items})
    """,
    ("example_id", "split"),
    (
        not_null(EXAMPLES),
        Expectation("accepted_values_split", "split in ('train', 'validation', 'test')"),
        Expectation(
            "equal_lengths",
            _same_lengths("size(item_indices)", "event_type_indices", "is_session_end", "target_indices"),
        ),
        Expectation("accepted_range_length", "length between 1 and size(item_indices)"),
        Expectation("relationships_items", "array_min(item_indices) >= 0 and array_max(item_indices) <= last_index"),
        # Every window has a target.
        Expectation(
            "relationships_target_items",
            "array_min(target_indices) >= 0 and array_max(target_indices) between 1 and last_index",
        ),
    ),
)

_RECOMMENDATIONS = Suite(
    RECOMMENDATIONS,
    """
    select *, score_date as day, lag(rank) over list as rank_before,
      lag(score) over (partition by score_date, user_id, variant, reason order by rank, item_id) as score_before
    from {recommendations}
    window list as (partition by score_date, user_id, variant order by rank, item_id)
    """,
    ("user_id", "variant", "rank"),
    (
        not_null(RECOMMENDATIONS),
        # Ranks are 1, 2, ... without a gap.
        Expectation("no_gaps_rank", "rank = coalesce(rank_before, 0) + 1"),
        Expectation("descending_score", "score_before is null or score <= score_before"),
        Expectation("accepted_range_score", "not isnan(score) and abs(score) < double('infinity')"),
        Expectation("accepted_values_reason", "reason in ('model', 'popular')"),
    ),
)

_RECOMMENDED_ITEMS = Suite(
    RECOMMENDATIONS,
    """
    select day, item_id, known_id
    from (select distinct score_date as day, item_id from {recommendations})
    left join (select distinct item_id, item_id as known_id from {items}) using (item_id)
    """,
    ("item_id",),
    (Expectation("relationships_items", "known_id is not null"),),
)

_RECOMMENDED_USERS = Suite(
    RECOMMENDATIONS,
    f"""
    select day, user_id, known_since, listed_id
    from (select distinct score_date as day, user_id from {{recommendations}})
    left join (
      select user_id, {_local_day("min(get(event_times, 0))")} as known_since from {{histories}} group by user_id
    ) using (user_id)
    left join (select distinct user_id, user_id as listed_id from {{listed_users}}) using (user_id)
    """,
    ("user_id",),
    (Expectation("relationships_users", "known_since <= day or listed_id is not null"),),
)

_EVALUATIONS = Suite(
    EVALUATIONS,
    f"select *, {_AS_IT_IS} as day from {{evaluations}}",
    EVALUATIONS.key,
    (
        not_null(EVALUATIONS),
        Expectation("accepted_range_value", "value between low and high"),
        Expectation("accepted_range_cases", "cases >= 1"),
    ),
)

SUITES: Final = (
    _SOURCE_FILES,
    unique(SOURCE_FILES, day="ingest_date"),
    _REFUSALS,
    _REFUSED_OF_FILES,
    unique(REJECTED_EVENTS),
    _EVENTS,
    unique(EVENTS),
    _USER_DAYS,
    _IDENTITIES,
    unique(IDENTITIES, day=_AS_IT_IS),
    _SESSIONS,
    unique(SESSIONS),
    _SESSIONS_IN_ORDER,
    _SEQUENCES,
    unique(SEQUENCES),
    _SEQUENCE_ITEMS,
    _ITEMS,
    unique(ITEMS, day=_AS_IT_IS),
    _ITEM_OF_INDEX,
    _INDEX_OF_ITEM,
    _LAST_INDEX,
    _USERS,
    unique(USERS, day=_AS_IT_IS),
    _EXAMPLES,
    unique(EXAMPLES),
    _RECOMMENDATIONS,
    unique(RECOMMENDATIONS),
    unique(RECOMMENDATIONS, "score_date", "user_id", "variant", "item_id", name="unique_item_id"),
    _RECOMMENDED_ITEMS,
    _RECOMMENDED_USERS,
    unique(EVALUATIONS, day=_AS_IT_IS),
    _EVALUATIONS,
)
