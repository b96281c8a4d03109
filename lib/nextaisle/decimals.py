"""Money as whole numbers of its last decimal, in NumPy's 64 bits: 12.3400 is 123400."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextaisle.contract.errors import InputError

Array = npt.NDArray[Any]

MONEY: Final = pa.decimal128(18, 4)
_LIMIT: Final = 10**18


def unscaled(money: pa.Array) -> Array:
    """A column of MONEY as integers; 0 where it is null. Arrow stores 128 bits each, of which the lower 64 suffice."""
    words = np.frombuffer(money.buffers()[1], np.int64).reshape(-1, 2) if len(money) else np.zeros((0, 2), np.int64)
    values = words[money.offset : money.offset + len(money), 0]
    return np.where(money.is_valid().to_numpy(zero_copy_only=False), values, 0)


def scaled(values: Array) -> pa.Array:
    """Integers as a column of MONEY."""
    words = np.stack([values, values >> 63], 1).astype(np.int64)
    return pa.Array.from_buffers(MONEY, len(values), [None, pa.py_buffer(words.tobytes())])


def check_room(sums: Array, approximate: Array) -> Array:
    """Returns `sums`, 64-bit integers that wrap around, if the same sums in floating point fit MONEY.

    Raises:
        InputError: they do not.
    """
    if len(approximate) and np.abs(approximate).max() >= _LIMIT:
        largest = float(np.abs(approximate).max()) / 10_000
        raise InputError(
            f"the money of one user adds up to {largest:.3g}, expected less than 1e14, which is what DECIMAL(18,4) "
            "holds; map a price in a larger unit in [source.columns]"
        )
    return sums
