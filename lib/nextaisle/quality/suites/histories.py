"""Suites of what is known of users: identities, sessions, sequences, and that the three tell the same."""

from collections.abc import Sequence
from typing import Final

from nextaisle.contract.tables import EVENTS, IDENTITIES, SEQUENCES, SESSIONS
from nextaisle.contract.tokens import EVENT_TYPES
from nextaisle.quality.expectations import Expectation, Suite, not_null, unique
from nextaisle.quality.suites.words import AS_IT_IS, listed, local_day, same_lengths

_NO_NULLS: Final = "not exists(event_types, type -> type is null)"
_KNOWN_TYPES: Final = (
    f"{_NO_NULLS} and (:keeps_types or size(array_except(event_types, array({listed(EVENT_TYPES)}))) = 0)"
)
_LAST_TIME: Final = "get(event_times, size(event_times) - 1)"
_ASCENDING: Final = "sort_array(event_times) = event_times"

# Collapsed events are told by their counts alone: of a run the first is left.
_IS_WHOLE: Final = "not array_contains(from_json(:collapse_types, 'array<string>'), event_types)"
# Rows of an earlier release have no counts.
_COUNTS: Final = "coalesce(counts, transform(event_times, time -> 1))"


_OF_SESSIONS: Final = ("event_times", "item_ids", "event_types", "prices", "quantities")
# Of these sequences tell the events that have an item.
_OF_SEQUENCES: Final = ("event_times", "item_ids", "event_types", "prices")
_SIZES: Final = ", ".join(f"size({column})" for column in _OF_SEQUENCES)


def _checksum(columns: Sequence[str], name: str, which: str = "true") -> str:
    """Equal for the same events in any order. 40 bits of each hash, so that the sum of millions stays an integer."""
    event = f"xxhash64({', '.join(columns)})"
    return f"sum(shiftright({event}, 24)) filter (where {_IS_WHOLE} and {which}) as {name}"


def _of_the_day(column: str) -> str:
    """What the row's day brought of a list: the end of it."""
    return f"slice({column}, size({column}) - day_count + 1, day_count) as {column}"


# What a user did on a day, as events, sessions and sequences have it.
_USER_DAYS = Suite(
    EVENTS,
    f"""
    with happened as (
      select day, user_id, count(*) as event_count, count(item_ids) as item_count,
        {_checksum(_OF_SESSIONS, "event_checksum")},
        {_checksum(_OF_SEQUENCES, "item_checksum", "item_ids is not null")}
      from (
        select event_date as day, user_id, event_time as event_times, item_id as item_ids, event_type as event_types,
          price as prices, quantity as quantities from {{linked_events}}
      ) group by day, user_id
    ), visited as (
      select day, user_id, sum(counts) as visit_count, {_checksum(_OF_SESSIONS, "visit_checksum")}
      from (
        select user_id, {local_day("event.event_times")} as day, event.*
        from (select * except (counts), {_COUNTS} as counts from {{sessions}})
        lateral view explode(arrays_zip(event_times, item_ids, event_types, prices, quantities, counts)) as event
      ) group by day, user_id
    ), remembered as (
      select day, user_id, count(*) as history_count, {_checksum(_OF_SEQUENCES, "history_checksum")}
      from (
        select day, user_id, event.* from (
          select day, user_id, {", ".join(map(_of_the_day, _OF_SEQUENCES))} from (
            select *, as_of_date as day, least(array_min(array({_SIZES})), size(filter(event_times, time ->
              {local_day("time")} = as_of_date))) as day_count from {{sequences}}
          )
        ) lateral view outer explode(arrays_zip({", ".join(_OF_SEQUENCES)})) as event
      ) group by day, user_id
    )
    select day, user_id, event_checksum, visit_checksum, item_checksum, history_checksum,
      coalesce(event_count, 0) as event_count, coalesce(item_count, 0) as item_count,
      coalesce(visit_count, 0) as visit_count, coalesce(history_count, 0) as history_count
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
        # Nor is anything told of a row that is not there, or that the day alone has filled.
        Expectation(
            "reconciled_sequence_events",
            "item_count = 0 or history_count = 0 or item_count > :max_events or history_checksum <=> item_checksum",
        ),
    ),
)

_IDENTITIES = Suite(
    IDENTITIES, f"select *, {AS_IT_IS} as day from {{identities}}", IDENTITIES.key, (not_null(IDENTITIES),)
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
            same_lengths("event_count", "item_ids", "event_types", "event_times", "prices", "quantities"),
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
        Expectation("day_of_start_time", f"{local_day('start_time')} = session_date"),
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
            same_lengths("size(item_ids)", "item_indices", "event_types", "event_times", "prices", "is_session_start"),
        ),
        Expectation("accepted_range_length", "size(item_ids) between 1 and least(event_count, :max_events)"),
        Expectation("accepted_values_event_types", _KNOWN_TYPES),
        Expectation("ascending_event_times", _ASCENDING),
        Expectation("day_of_last_event", f"{local_day('get(event_times, size(event_times) - 1)')} = as_of_date"),
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

OF_USER_HISTORIES: Final = (
    _USER_DAYS,
    _IDENTITIES,
    unique(IDENTITIES, day=AS_IT_IS),
    _SESSIONS,
    unique(SESSIONS),
    _SESSIONS_IN_ORDER,
    _SEQUENCES,
    unique(SEQUENCES),
    _SEQUENCE_ITEMS,
)
