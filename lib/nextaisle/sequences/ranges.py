"""Index arithmetic over ranges of a flat array, without a loop."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def gathered(first: Integers, end: Integers) -> Integers:
    """All places of the ranges first[i] to end[i] - 1, one range after the other.

    >>> gathered(np.array([0, 1]), np.array([2, 4]))
    array([0, 1, 1, 2, 3])
    """
    lengths = end - first
    offsets = np.cumsum(lengths) - lengths
    places: Integers = np.arange(lengths.sum()) + np.repeat(first - offsets, lengths)
    return places


def run_starts(*columns: NDArray[np.int64] | NDArray[np.int8]) -> Integers:
    """Places where a run of equal values (in all columns together) begins; none for empty columns.

    >>> run_starts(np.array([7, 7, 8, 7]))
    array([0, 2, 3])
    """
    changes = [np.diff(column) != 0 for column in columns]
    is_start = np.concatenate([[True], np.logical_or.reduce(changes)]) if len(columns[0]) else np.zeros(0, bool)
    return np.flatnonzero(is_start)
