"""To which part of the data a target belongs: train, validation, test, or none of them.

A part is a property of the target alone. What a model is given beside it is older, so a target of one part is never an
input for the target of an earlier one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextaisle.arrays import Integers, run_starts

SPLITS: Final = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, NONE = range(4)
# With fewer, a user would be judged on an item without having been learned from.
_FEWEST_TARGETS: Final = 3


def splits_by_time(day_E: Integers, last_days: Integers) -> NDArray[np.int8]:
    """The first part whose last day the event does not pass: `last_days` are those of train, validation, test.

    A boundary day belongs to the earlier part. With last days 10, 17, 24:

    | day   | 10    | 11         | 17         | 18   | 24   | 25   |
    |-------|-------|------------|------------|------|------|------|
    | split | train | validation | validation | test | test | none |
    """
    return np.searchsorted(last_days, day_E, side="left").astype(np.int8)


def splits_leave_one_out(user_E: Integers, is_target_E: NDArray[np.bool_]) -> NDArray[np.int8]:
    """A user's last target is test, the one before it validation, the rest train; users with two targets only train.

    As in Kang and McAuley, Self-Attentive Sequential Recommendation (ICDM 2018), where every event is a target.
    """
    split_E = np.full(len(user_E), TRAIN, np.int8)
    targets = np.flatnonzero(is_target_E)
    if not len(targets):
        return split_E
    starts = run_starts(user_E[targets])
    counts = np.diff(starts, append=len(targets))
    ends = (starts + counts)[counts >= _FEWEST_TARGETS]
    split_E[targets[ends - 1]] = TEST
    split_E[targets[ends - 2]] = VALIDATION
    return split_E
