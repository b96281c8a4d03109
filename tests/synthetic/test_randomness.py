import numpy as np

from nextaisle.synthetic.randomness import uniform

WHO, NTH = np.arange(300)[:, None], np.arange(300)[None, :]


def test_draws_fill_the_interval_evenly() -> None:
    draws = uniform(1, 1, WHO, NTH)
    assert draws.shape == (300, 300)
    assert 0 < draws.min() < draws.max() < 1
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    # 4,500 expected in each, with a standard deviation of 65.
    assert abs(counts - 4500).max() < 5 * 65


def test_neighbours_seeds_and_streams_are_unrelated() -> None:
    draws = uniform(1, 1, WHO, NTH)
    others = [
        uniform(1, 2, WHO, NTH),
        uniform(2, 1, WHO, NTH),
        uniform(1, 1, WHO + 1, NTH),
        uniform(1, 1, WHO, NTH + 1),
    ]
    for other in others:
        assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 5 / 300


def test_a_draw_depends_on_its_name_alone() -> None:
    whole = uniform(1, 1, WHO, NTH)
    part = uniform(1, 1, np.array([7, 5]), np.array([9, 9]))
    assert part.tolist() == [whole[7, 9], whole[5, 9]]
