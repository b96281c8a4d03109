import numpy as np
import pytest

from nextaisle import overlays
from nextaisle.synthetic.catalogue import catalogue, item_rows


def test_popularity_falls_as_one_over_the_rank() -> None:
    items = catalogue(500, 1)
    assert items.popularity.sum() == pytest.approx(1)
    by_rank = items.popularity[items.place_of_rank]
    assert (by_rank[0] / by_rank[:4]).tolist() == pytest.approx([1, 2, 3, 4])


def test_an_id_tells_neither_the_successor_nor_the_popularity() -> None:
    items = catalogue(500, 1)
    number = np.array([int(name.removeprefix("item_")) for name in items.item_ids.to_pylist()])
    assert sorted(number) == list(range(500))
    assert abs(np.corrcoef(number[1:], number[:-1])[0, 1]) < 0.2
    assert abs(np.corrcoef(number, items.popularity)[0, 1]) < 0.2


def test_items_have_what_a_shop_knows_of_them() -> None:
    rows = item_rows(overlays.load([], []).synthetic)
    assert rows.column_names == ["item_id", "title", "department", "category", "brand", "product_type", "price"]
    assert [len(set(rows[name].to_pylist())) for name in ("item_id", "department", "category", "product_type")] == [
        500,
        8,
        32,
        96,
    ]
    assert min(rows["price"].to_pylist()) > 2
    assert max(rows["price"].to_pylist()) < 110
