"""Sessions to sequences, items (the vocabulary) and examples."""

from nextaisle.sequences.catalogue import catalogue_state, read_catalogue
from nextaisle.sequences.compaction import compacted
from nextaisle.sequences.examples import examples_of
from nextaisle.sequences.items import changed_items
from nextaisle.sequences.rebuilding import rebuild_sequences

__all__ = ["catalogue_state", "changed_items", "compacted", "examples_of", "read_catalogue", "rebuild_sequences"]
