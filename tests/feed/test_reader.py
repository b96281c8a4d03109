from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import EXAMPLES
from nextaisle.feed.reader import Feed, Files, Shard, read_windows
from nextaisle.feed.windows import join
from nextaisle.storage.store import Store


def files(folder: Path, count: int, rows: int, row_group_size: int = 4) -> Files:
    """`count` files of `rows` windows each; ids run through all of them, window i has 1 + i % 3 inputs."""
    for number in range(count):
        ids = np.arange(number * rows, (number + 1) * rows)
        lengths = 1 + ids % 3
        lists = [[int(i) + 1] * n + [0] * (3 - n) for i, n in zip(ids, lengths, strict=True)]
        columns: dict[str, Any] = {"example_id": ids, "length": lengths.astype(np.int32)}
        for name in ("item_indices", "event_type_indices", "is_session_end", "target_indices"):
            values = lists if name in ("item_indices", "target_indices") else [[1, 0, 0]] * rows
            columns[name] = pa.array(values, pa.list_(pa.int32()))
        pq.write_table(pa.table(columns), folder / f"{number}.parquet", row_group_size=row_group_size)
    urls = tuple((folder / f"{number}.parquet").as_uri() for number in range(count))
    return Files(urls, count * rows, 3)


def ids_read(files: Files, shard: Shard, seed: int = 1) -> list[int]:
    return [int(i) for windows in read_windows(files, shard, seed) for i in windows.example_id_W]


def test_windows_come_without_their_filling(tmp_path: Path) -> None:
    windows = join(list(read_windows(files(tmp_path, 1, 3), Shard(0, 1), 1)))
    assert windows.length_W.tolist() == [1, 2, 3]
    assert windows.item_E.tolist() == [1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ranks_share_few_files_by_rows_and_lose_none(tmp_path: Path, count: int) -> None:
    found = [ids_read(files(tmp_path, 2, 10), Shard(rank, count)) for rank in range(count)]
    assert sorted(chain(*found)) == list(range(20))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_ranks_share_many_files_by_row_groups_and_lose_none(tmp_path: Path) -> None:
    found = [ids_read(files(tmp_path, 16, 8), Shard(rank, 2)) for rank in range(2)]
    assert sorted(chain(*found)) == list(range(128))
    assert len(found[0]) == len(found[1]) == 64


def test_the_order_is_the_seeds(tmp_path: Path) -> None:
    written = files(tmp_path, 8, 12)
    first = ids_read(written, Shard(0, 1), seed=3)
    # Petastorm's threads must not decide it, however they are scheduled.
    assert all(ids_read(written, Shard(0, 1), seed=3) == first for _ in range(5))
    assert ids_read(written, Shard(0, 1), seed=4) != first


def test_what_fits_in_memory_is_read_once(tmp_path: Path) -> None:
    feed = Feed(files(tmp_path, 2, 10), Shard(0, 1))
    first = next(iter(feed.parts(1, 1, 1000)))
    for file in tmp_path.iterdir():
        file.unlink()
    assert next(iter(feed.parts(2, 1, 1000))) is first


def test_what_does_not_fit_comes_in_parts_in_another_order_each_epoch(tmp_path: Path) -> None:
    feed = Feed(files(tmp_path, 4, 12), Shard(0, 1), kept_bytes=0)
    epochs = [[part.example_id_W.tolist() for part in feed.parts(epoch, 1, 30)] for epoch in (1, 2)]
    assert len(epochs[0]) > 1
    assert epochs[0] != epochs[1]
    assert all(sorted(chain(*parts)) == list(range(48)) for parts in epochs)


def test_files_that_hold_other_rows_than_listed_are_refused(tmp_path: Path) -> None:
    listed = files(tmp_path, 1, 10)
    with pytest.raises(InputError, match="hold 10 rows, expected 11"):
        ids_read(Files(listed.urls, 11, 3), Shard(0, 1))


def test_no_files_are_no_windows() -> None:
    assert ids_read(Files((), 0, 3), Shard(0, 1)) == []


def test_the_active_files_of_a_delta_table_are_read_and_removed_ones_are_not(spark: SparkSession, store: Store) -> None:
    day = date(2024, 1, 1)
    for item in (7, 9):
        rows = [(i, day, "train", 1, [item, 0], [1, 0], [0, 0], [5, 0]) for i in range(4)]
        store.replace_days(EXAMPLES, spark.createDataFrame(rows, EXAMPLES.schema), day, day)
    active = store.fresh().active_files(EXAMPLES, "split = 'train'")
    found = Files(tuple(file.url for file in active), sum(file.row_count for file in active), 2)
    assert join(list(read_windows(found, Shard(0, 1), 1))).item_E.tolist() == [9, 9, 9, 9]
