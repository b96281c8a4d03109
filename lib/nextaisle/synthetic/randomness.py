"""Random numbers that are a function of what they are for, so that no order of work can change them.

A draw is named by a seed, a stream (what it decides), and two integers: whose it is, and the how-manieth. The mixing
function is splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def uniform(seed: int, stream: int, who: Integers, nth: Integers) -> Floats:
    """Numbers in the open interval (0, 1), one for each pair; `who` and `nth` broadcast."""
    key = _mix(_mix(np.array([seed % 2**63], np.uint64)) + np.uint64(stream))
    bits = _mix(_mix(key + who.astype(np.uint64)) + nth.astype(np.uint64))
    # 52 bits and a half: neither 0, whose logarithm does not exist, nor 1.
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A bijection of 64 bits in which each bit of the input moves half of the output's."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
