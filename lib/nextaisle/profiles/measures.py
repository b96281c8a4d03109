"""What is computed of a profile's exact counts: shares, entropy, drift.

N rows, K entries of lists.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextaisle.decimals import unscaled

Array = npt.NDArray[Any]

# Of entropies. Beyond them logarithms differ from processor to processor.
DECIMALS: Final = 12
_WINDOWS: Final = {"recent_entropy": "recent_counts", "earlier_entropy": "earlier_counts"}


def with_measures(rows: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The rows with what is measured of them, and without the counts of the two windows, which are in no table."""
    categories = rows["category_counts"]
    counts = pa.ListArray.from_arrays(categories.offsets, categories.values.field("event_count"))
    entropies = {"category_entropy": entropy(counts)} | {name: entropy(rows[of]) for name, of in _WINDOWS.items()}
    measured = {
        "repeat_share": share(rows["repeat_purchase_count"].to_numpy(), rows["purchase_count"].to_numpy()),
        "price_level": share(unscaled(rows["paid_money"]), unscaled(rows["mean_price_money"])),
        **entropies,
        "interest_drift": entropies["recent_entropy"] - entropies["earlier_entropy"],
    }
    kept = {name: column for name, column in rows.items() if name not in _WINDOWS.values()}
    return kept | {name: pa.array(value_N, from_pandas=True) for name, value_N in measured.items()}


def entropy(counts: pa.ListArray) -> Array:
    """Shannon entropy, in bits, of each list of positive counts; NaN of an empty one. `published.entropy` is Spark's.

    | counts | entropy |
    |--------|---------|
    | 3      | 0.0     |
    | 2 2    | 1.0     |
    | 2 1 1  | 1.5     |
    """
    place_K = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))
    count_K = counts.flatten().to_numpy()
    total_N = np.bincount(place_K, count_K, len(counts))
    share_K = count_K / total_N[place_K]
    bits_N = np.bincount(place_K, -share_K * np.log2(share_K), len(counts))
    return np.where(total_N > 0, np.round(bits_N, DECIMALS), np.nan)


def share(part_N: Array, whole_N: Array) -> Array:
    """part / whole; NaN where there is no whole."""
    return np.divide(part_N, whole_N, out=np.full(len(part_N), np.nan), where=whole_N > 0)
