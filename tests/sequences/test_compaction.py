import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextaisle.sequences.compaction import is_kept


def kept(*rows: tuple[int, int, int]) -> list[bool]:
    """Rows as (user, event_count, size)."""
    user, count, size = np.array(rows, np.int64).T
    found: list[bool] = is_kept(user, count, size).tolist()
    return found


def test_arrays_that_follow_on_one_another_and_the_last_row_are_kept() -> None:
    first = [(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 5, 3), (0, 6, 3), (0, 7, 3)]
    assert kept(*first, (1, 9, 3)) == [False, False, True, False, True, True, True]


def test_a_day_with_more_than_a_row_can_hold_follows_on_whatever_was_before() -> None:
    assert kept((0, 2, 2), (0, 9, 3), (0, 10, 3)) == [True, True, True]


def test_no_rows_are_no_rows() -> None:
    nothing = np.zeros(0, np.int64)
    assert is_kept(nothing, nothing, nothing).tolist() == []


@given(
    counts=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=30), min_size=1, max_size=4),
    cap=st.integers(1, 6), cut=st.integers(1, 29),
)  # fmt: skip
def test_compacting_month_by_month_keeps_what_compacting_once_keeps(
    counts: list[list[int]], cap: int, cut: int
) -> None:
    days = [(user, day) for user, added in enumerate(counts) for day in range(len(added))]
    users = np.array([user for user, _ in days])
    totals = np.concatenate([np.cumsum(added) for added in counts])
    sizes = np.minimum(totals, cap)
    once = np.flatnonzero(is_kept(users, totals, sizes))
    early = np.array([day < cut for _, day in days])
    left = np.flatnonzero(early)[is_kept(users[early], totals[early], sizes[early])]
    rows = np.sort(np.concatenate([left, np.flatnonzero(~early)]))
    twice = rows[is_kept(users[rows], totals[rows], sizes[rows])]
    assert twice.tolist() == once.tolist()
