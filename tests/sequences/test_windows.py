import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextaisle.sequences.splits import NONE, TEST, TRAIN, VALIDATION
from nextaisle.sequences.windows import EncodedWindows, WindowPlan, encode_windows, plan_windows


def plan(users: list[int], splits: list[int], length: int, stride: int, targets: list[int] | None = None) -> WindowPlan:
    is_target = np.array(targets if targets is not None else [1] * len(users), bool)
    return plan_windows(np.array(users), np.array(splits, np.int8), is_target, length, stride)


def shown(windows: WindowPlan) -> list[tuple[int, int, int, int]]:
    """(split, first input, first target, last target)"""
    columns = (windows.split_W, windows.first_input_W, windows.first_target_W, windows.last_target_W)
    return [tuple(row) for row in np.stack(columns, 1).tolist()]


def encode(windows: WindowPlan, items: list[int], starts: list[int], targets: list[int], length: int) -> EncodedWindows:
    types = np.full(len(items), 6, np.int8)
    return encode_windows(
        windows, np.array(items, np.int32), types, np.array(starts, bool), np.array(targets, bool), length
    )


def test_a_run_is_cut_from_its_end_and_inputs_reach_back_beyond_it() -> None:
    found = plan([0] * 7, [TRAIN] * 5 + [TEST] * 2, length=3, stride=2)
    assert shown(found) == [(TRAIN, 1, 3, 4), (TRAIN, 0, 1, 2), (TEST, 3, 5, 6)]


def test_inputs_never_reach_into_another_user() -> None:
    assert shown(plan([0, 0, 1, 1], [TRAIN] * 4, length=9, stride=9)) == [(TRAIN, 0, 1, 1), (TRAIN, 2, 3, 3)]


def test_a_single_event_makes_no_window_and_events_after_the_test_none() -> None:
    assert shown(plan([0, 1, 1, 1], [TRAIN, TRAIN, TEST, NONE], length=9, stride=9)) == [(TEST, 1, 2, 2)]
    assert shown(plan([], [], length=9, stride=9)) == []


def test_a_window_without_a_target_of_the_wanted_kind_is_left_out() -> None:
    found = plan([0] * 5, [TRAIN] * 5, length=2, stride=2, targets=[1, 0, 0, 0, 1])
    assert shown(found) == [(TRAIN, 2, 3, 4)]


def test_the_arrays_by_hand() -> None:
    items, starts, targets = [7, 9, 4, 5], [1, 0, 1, 0], [1, 1, 1, 0]
    windows = plan([0] * 4, [TRAIN, TRAIN, VALIDATION, VALIDATION], length=4, stride=4, targets=targets)
    found = encode(windows, items, starts, targets, length=4)
    assert found.length_W.tolist() == [1, 3]
    assert found.item_WL.tolist() == [[7, 0, 0, 0], [7, 9, 4, 0]]
    assert found.event_type_WL.tolist() == [[6, 0, 0, 0], [6, 6, 6, 0]]
    # The second event does not begin a session, the third does, the fourth does not.
    assert found.session_end_WL.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    # 9 is the train window's target; the fourth event is not of the wanted kind.
    assert found.target_WL.tolist() == [[9, 0, 0, 0], [0, 4, 0, 0]]


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5),
    st.integers(2, 5).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length))),
)
def test_every_event_but_the_first_is_a_target_once_and_what_came_before_it_is_its_input(
    users: list[tuple[int, int, int]], sizes: tuple[int, int]
) -> None:
    length, stride = sizes
    user = np.concatenate([np.full(events, number) for number, (events, _, _) in enumerate(users)])
    split = np.concatenate([np.sort(np.arange(e) * 3 // max(e, a + b, 1)) for e, a, b in users]).astype(np.int8)
    everything = np.ones(len(user), bool)
    windows = plan_windows(user, split, everything, length, stride)
    # Item n + 1 is event n: what is encoded says which event it was.
    found = encode_windows(
        windows,
        np.arange(1, len(user) + 1, dtype=np.int32),
        np.ones(len(user), np.int8),
        everything,
        everything,
        length,
    )
    places = found.target_WL > 0
    assert sorted((found.target_WL[places] - 1).tolist()) == np.flatnonzero(np.diff(user, prepend=-1) == 0).tolist()
    assert (found.target_WL[places] == found.item_WL[places] + 1).all()
    assert (split[found.target_WL[places] - 1] == np.repeat(windows.split_W, places.sum(1))).all()
    assert (found.length_W <= length).all()
    assert (places.sum(1) <= stride).all()
    assert ((found.item_WL > 0).sum(1) == found.length_W).all()
