from typing import Any

import numpy as np
import numpy.typing as npt

from nextaisle.feed.batches import cut_batches, cut_in_order, filler, to_batch
from nextaisle.feed.windows import Windows, join, pack


def windows(*lengths: int) -> Windows:
    """Window w has the items 10 w + 1, 10 w + 2, ... and each item's successor as its target."""
    longest = max(lengths, default=0)
    item_WL = 10 * np.arange(len(lengths))[:, None] + np.arange(1, longest + 1)
    ones = np.ones_like(item_WL)
    return pack(np.arange(len(lengths)), np.array(lengths), item_WL, ones, 0 * ones, item_WL + 1)


def ids(batches: list[Any]) -> list[int]:
    return sorted(int(row[0]) // 10 for batch in batches for row in batch.inputs.item_BL)


def random(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_batch_is_filled_on_the_right_to_the_longest_of_its_windows() -> None:
    batch = to_batch(windows(2, 5, 3), np.array([0, 2]))
    assert batch.inputs.item_BL.tolist() == [[1, 2, 0], [21, 22, 23]]
    assert batch.target_BL.tolist() == [[2, 3, 0], [22, 23, 24]]
    assert batch.inputs.event_type_BL.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.inputs.length_B.tolist() == [2, 3]
    assert batch.weight_B.tolist() == [1.0, 1.0]


def test_every_window_is_in_exactly_one_batch() -> None:
    lengths: npt.NDArray[Any] = random().integers(1, 9, 200)
    assert ids(list(cut_batches(windows(*lengths), 40, 99, random()))) == list(range(200))
    assert ids(list(cut_in_order(windows(*lengths), 40, 99))) == list(range(200))


def test_a_batch_holds_no_more_positions_than_asked_filling_included() -> None:
    lengths = random().integers(1, 9, 200)
    shapes = [batch.inputs.item_BL.shape for batch in cut_batches(windows(*lengths), 40, 99, random())]
    assert max(rows * longest for rows, longest in shapes) <= 40


def test_a_window_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    shapes = [tuple(batch.inputs.item_BL.shape) for batch in cut_in_order(windows(2, 9, 2), 4, 99)]
    assert shapes == [(2, 2), (1, 9)]


def test_less_than_a_tenth_of_the_positions_is_filling() -> None:
    lengths = np.minimum(random().geometric(0.1, 5000), 50)
    batches = list(cut_batches(windows(*lengths), 1000, 99, random()))
    assert sum(batch.inputs.item_BL.numel() for batch in batches) < 1.1 * lengths.sum()


def test_the_same_seed_gives_the_same_batches_and_another_gives_others() -> None:
    lengths = random().integers(1, 9, 200)
    first, again, other = (
        [batch.inputs.item_BL.tolist() for batch in cut_batches(windows(*lengths), 40, 99, random(seed))]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_no_windows_give_no_batches() -> None:
    assert list(cut_batches(join([]), 40, 99, random())) == []


def test_a_filler_counts_nothing() -> None:
    assert float(filler().weight_B.sum()) == 0.0
    assert int(filler().target_BL.sum()) == 0


def test_joined_windows_are_those_of_the_parts_in_order() -> None:
    joined = join([windows(1, 2), windows(3)])
    assert joined.length_W.tolist() == [1, 2, 3]
    assert joined.item_E.tolist() == [1, 11, 12, 1, 2, 3]


def test_taken_windows_come_in_the_order_asked_for() -> None:
    taken = windows(1, 2, 3).take(np.array([2, 0]))
    assert taken.example_id_W.tolist() == [2, 0]
    assert taken.item_E.tolist() == [21, 22, 23, 1]
    assert taken.offset_W1.tolist() == [0, 3, 4]
