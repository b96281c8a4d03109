"""Which integer an item has, found for millions of ids at a time without a dictionary of Python strings.

The lookup is two sorted arrays, 12 bytes per item: 5 million items are 60 MB in each of Spark's Python workers.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from nextaisle.arrays import hashed
from nextaisle.contract.errors import InputError
from nextaisle.contract.tokens import EVENT_TYPE_INDEX, UNKNOWN_TYPE_INDEX


class Lookup(NamedTuple):
    """64-bit hashes of the item ids, ascending, and the items' indices in step with them."""

    hash: NDArray[np.uint64]
    item_index: NDArray[np.int32]

    def find(self, item_ids: pa.Array) -> NDArray[np.int32]:
        """The index of each item.

        Raises:
            InputError: an item has none.
        """
        coded = item_ids.dictionary_encode()
        hashes = hashed(coded.dictionary)
        place = np.minimum(np.searchsorted(self.hash, hashes), max(len(self.hash) - 1, 0))
        found = self.hash[place] == hashes if len(self.hash) else np.zeros(len(hashes), bool)
        if not found.all():
            example = coded.dictionary[int(np.flatnonzero(~found)[0])].as_py()
            raise InputError(f"item {example!r} is in sessions and not in items; run build_sequences before this")
        return self.item_index[place][coded.indices.to_numpy()] if len(coded) else np.zeros(0, np.int32)


def read_lookup(items: DataFrame) -> Lookup:
    """The lookup of the rows of table items. Only hashes and indices come to the driver.

    Raises:
        InputError: two items have one hash: with 5 million items one shop in a million meets it.
    """
    rows = items.select("item_id", "item_index").distinct().mapInArrow(_hashed, "hash bigint, item_index int").toArrow()
    hashes = rows["hash"].to_numpy().view(np.uint64)
    order = np.argsort(hashes)
    lookup = Lookup(hashes[order], rows["item_index"].to_numpy().astype(np.int32)[order])
    if len(lookup.hash) and (lookup.hash[1:] == lookup.hash[:-1]).any():
        raise InputError("two items of table items have the same hash; rename one of them in [source.columns]")
    return lookup


def type_indices(event_types: pa.Array) -> NDArray[np.int8]:
    """contract/tokens.py EVENT_TYPE_INDEX of each event, or UNKNOWN_TYPE_INDEX."""
    coded = event_types.dictionary_encode()
    known = [EVENT_TYPE_INDEX.get(name, UNKNOWN_TYPE_INDEX) for name in coded.dictionary.to_pylist()]
    return np.array(known, np.int8)[coded.indices.to_numpy()] if len(coded) else np.zeros(0, np.int8)


def _hashed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        hashes = pa.array(hashed(batch.column("item_id")).view(np.int64))
        yield pa.RecordBatch.from_arrays([hashes, batch.column("item_index")], ["hash", "item_index"])
