"""Integers with a fixed meaning. They are stored in models, so none of them ever changes.

| index | item              | event type                                  |
|-------|-------------------|---------------------------------------------|
| 0     | padding, no item  | padding, a type that EVENT_TYPES lacks      |
| 1..   | items.item_index  | its place in EVENT_TYPES, plus one          |

An unknown type shares the 0 with padding, as an unknown brand does (vocabulary.py): nobody looks at a place that is
filled, so the vector behind it is that of unknown types alone.
"""

from typing import Final

PADDING_INDEX: Final = 0
FIRST_ITEM_INDEX: Final = 1

# In this order for good: append only. A type's index is its place here, plus one. A model that was trained with fewer
# cannot be read any more, and gives way to the next one.
EVENT_TYPES: Final = (
    "view",
    "search",
    "cart",
    "uncart",
    "favourite",
    "purchase",
    "return",
    "rating",
    "review",
    "impression",
    "click",
)
EVENT_TYPE_INDEX: Final = {name: index for index, name in enumerate(EVENT_TYPES, start=1)}
UNKNOWN_TYPE_INDEX: Final = PADDING_INDEX  # of a type that is kept, events.unknown_types, though it is none of these
EVENT_TYPE_COUNT: Final = len(EVENT_TYPES) + 1  # with padding

# Types that may come without an item.
EVENT_TYPES_WITHOUT_ITEM: Final = ("search",)
