"""Why a record was refused: the values of rejected_events.reason.

Of those that the record itself gives the first that holds counts. The others are about what a user did on a day: their
rows hold the event, which other events of that day may bring back, or set apart, at any time.
"""

from typing import Final

UNREADABLE: Final = "unreadable"
MISSING_USER: Final = "missing_user"
MISSING_TIME: Final = "missing_time"
TOO_EARLY: Final = "too_early"
IN_THE_FUTURE: Final = "in_the_future"
TOO_LATE: Final = "too_late"
UNKNOWN_TYPE: Final = "unknown_type"
MISSING_ITEM: Final = "missing_item"
BOT: Final = "bot"
OVER_THE_CAP: Final = "over_the_cap"
# Read again and found good, on its way to events; seen only after replay_rejected was killed.
REPLAYED: Final = "replayed"

# By [source.policies], after all that makes an event of a record.
MISSING: Final = {
    "price": "missing_price", "quantity": "missing_quantity", "rating": "missing_rating",
    "position": "missing_position", "session_id": "missing_session", "query": "missing_query",
    "variant": "missing_variant", "region": "missing_region", "device": "missing_device",
}  # fmt: skip
ODD: Final = {
    "user_id": "odd_user", "item_id": "odd_item", "price": "odd_price", "quantity": "odd_quantity",
    "rating": "odd_rating", "position": "odd_position", "session_id": "odd_session", "query": "odd_query",
    "variant": "odd_variant", "region": "odd_region", "device": "odd_device",
}  # fmt: skip

OF_THE_RECORD: Final = (
    UNREADABLE, MISSING_USER, MISSING_TIME, TOO_EARLY, IN_THE_FUTURE, TOO_LATE, UNKNOWN_TYPE, MISSING_ITEM,
    *ODD.values(), *MISSING.values(),
)  # fmt: skip
REASONS: Final = (*OF_THE_RECORD, BOT, OVER_THE_CAP, REPLAYED)
