"""Integers with a fixed meaning. They are stored in models, so none of them ever changes.

| index | item              | event type |
|-------|-------------------|------------|
| 0     | padding, no item  | padding    |
| 1..   | items.item_index  | see below  |
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
EVENT_TYPE_COUNT: Final = len(EVENT_TYPES) + 1  # with padding

# Types that may come without an item.
EVENT_TYPES_WITHOUT_ITEM: Final = ("search",)
