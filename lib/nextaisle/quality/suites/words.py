"""The words of SQL that suites share."""

from typing import Final

# A session is at most 24 hours long, and a day at least 23: an event may belong to a session of two days before.
DAYS_SPANNED: Final = 2

# Under this name a suite sees the sequences of all days.
HISTORIES: Final = "histories"
# Under this name it sees events under the users that their ids are linked to, as sessions have them.
LINKED_EVENTS: Final = "linked_events"
# A table without days is checked as it is, under the last day that is checked.
AS_IT_IS: Final = "cast(:last as date)"


def listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def local_day(instant: str) -> str:
    return f"cast(from_utc_timestamp({instant}, :time_zone) as date)"


def same_lengths(length: str, *arrays: str) -> str:
    return " and ".join(f"size({array}) = {length}" for array in arrays)
