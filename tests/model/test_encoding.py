import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextaisle.model import encode_histories


def encoded(histories: list[list[tuple[int, int]]], length: int, item_count: int) -> tuple[list[list[int]], ...]:
    """Of histories of (item index, whether its session starts there): items, session ends, lengths."""
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    events = [event for history in histories for event in history]
    items = np.array([item for item, _ in events], np.int32)
    starts = np.array([start for _, start in events], bool)
    found = encode_histories(offsets, items, np.ones_like(items), starts, length, item_count)
    return found.item_BL.tolist(), found.session_end_BL.tolist(), found.length_B.tolist()


def test_the_last_event_asks_for_a_new_session_and_so_does_one_before_a_session_start() -> None:
    assert encoded([[(5, 1), (6, 0), (7, 1)]], 10, 90) == ([[5, 6, 7]], [[0, 1, 1]], [3])


def test_only_the_last_events_are_kept() -> None:
    assert encoded([[(5, 1), (6, 0), (7, 0)]], 2, 90) == ([[6, 7]], [[0, 1]], [2])


def test_items_newer_than_the_model_are_left_out_and_the_session_they_started_still_counts() -> None:
    assert encoded([[(5, 1), (7, 0), (99, 1), (8, 0), (9, 0)]], 3, 90) == ([[7, 8, 9]], [[1, 0, 1]], [3])


def test_shorter_histories_are_filled_on_the_right() -> None:
    assert encoded([[(5, 1)], [(6, 1), (7, 1)]], 10, 90) == ([[5, 0], [6, 7]], [[1, 0], [1, 1]], [1, 2])


def test_a_history_without_a_known_item_is_empty() -> None:
    assert encoded([[(99, 1)], [(6, 1)], []], 10, 90) == ([[0], [6], [0]], [[0], [1], [0]], [0, 1, 0])
    assert encoded([[(99, 1)], []], 10, 90) == ([[0], [0]], [[0], [0]], [0, 0])
    assert encoded([[]], 10, 90) == ([[0]], [[0]], [0])


events = st.tuples(st.integers(1, 12), st.integers(0, 1))


@given(st.lists(st.lists(events, max_size=9), min_size=1, max_size=5), st.integers(1, 5))
def test_it_is_what_a_loop_over_the_events_gives(histories: list[list[tuple[int, int]]], length: int) -> None:
    found_items, found_ends, found_lengths = encoded(histories, length, item_count=10)
    for row, history in enumerate(histories):
        sessions = np.cumsum([start for _, start in history])
        kept = [(item, session) for (item, _), session in zip(history, sessions, strict=True) if item <= 10][-length:]
        ends = [int(at + 1 == len(kept) or kept[at + 1][1] != session) for at, (_, session) in enumerate(kept)]
        filling = [0] * (len(found_items[row]) - len(kept))
        assert found_items[row] == [item for item, _ in kept] + filling
        assert found_ends[row] == ends + filling
        assert found_lengths[row] == len(kept)  # type: ignore[comparison-overlap]
