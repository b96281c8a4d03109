"""Sessions to sequences, items (the vocabulary) and examples; and what is known of items and users as of days."""

from nextaisle.sequences.catalogue import catalogue_state, read_catalogue
from nextaisle.sequences.compaction import compacted
from nextaisle.sequences.examples import examples_of
from nextaisle.sequences.items import rebuild_items
from nextaisle.sequences.rebuilding import SEED, rebuild_sequences, rows_by_user
from nextaisle.sequences.users import changed_users, read_users, users_state
from nextaisle.sequences.vocabulary import read_lookup

__all__ = [
    "SEED", "catalogue_state", "changed_users", "compacted", "examples_of", "read_catalogue", "read_lookup",
    "read_users", "rebuild_items", "rebuild_sequences", "rows_by_user", "users_state",
]  # fmt: skip
