"""Why a record was refused: the values of rejected_events.reason, in this order; the first that holds counts."""

from typing import Final

UNREADABLE: Final = "unreadable"
MISSING_USER: Final = "missing_user"
MISSING_TIME: Final = "missing_time"
TOO_EARLY: Final = "too_early"
IN_THE_FUTURE: Final = "in_the_future"
TOO_LATE: Final = "too_late"
UNKNOWN_TYPE: Final = "unknown_type"
MISSING_ITEM: Final = "missing_item"
OVER_THE_CAP: Final = "over_the_cap"

REASONS: Final = (
    UNREADABLE, MISSING_USER, MISSING_TIME, TOO_EARLY, IN_THE_FUTURE, TOO_LATE, UNKNOWN_TYPE, MISSING_ITEM,
    OVER_THE_CAP,
)  # fmt: skip
