import numpy as np

from nextaisle.sequences.splits import NONE, TEST, TRAIN, VALIDATION, splits_by_time, splits_leave_one_out


def test_the_last_day_of_a_part_belongs_to_it() -> None:
    days = np.array([1, 10, 11, 17, 18, 24, 25])
    expected = [TRAIN, TRAIN, VALIDATION, VALIDATION, TEST, TEST, NONE]
    assert splits_by_time(days, np.array([10, 17, 24])).tolist() == expected


def test_a_users_last_target_is_test_and_the_one_before_it_validation() -> None:
    #            u: three targets and a view between them    v: two targets      w: no target
    users = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    is_target = np.array([1, 1, 0, 1, 0, 1, 1, 0], bool)
    expected = [TRAIN, VALIDATION, TRAIN, TEST, TRAIN, TRAIN, TRAIN, TRAIN]
    assert splits_leave_one_out(users, is_target).tolist() == expected


def test_without_targets_everything_is_train() -> None:
    assert splits_leave_one_out(np.zeros(2, np.int64), np.zeros(2, bool)).tolist() == [TRAIN, TRAIN]
    assert splits_leave_one_out(np.zeros(0, np.int64), np.zeros(0, bool)).tolist() == []
