"""Rows of a user, or of a group, reach a kernel together, whatever the batches in which they come."""

import pyarrow as pa
import pytest

from nextaisle.storage.kernels import whole_groups, whole_users

USERS = "uuuuuvwwx"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_blocks_never_part_a_user(batch_size: int, most: int) -> None:
    rows = pa.table({"user_id": list(USERS), "n": range(len(USERS))})
    blocks = list(whole_users(rows.to_batches(max_chunksize=batch_size), most))
    assert pa.concat_tables(blocks).equals(rows)
    assert sum(len(set(block["user_id"].to_pylist())) for block in blocks) == len(set(USERS))
    # What is held is what was asked for, one batch, and the user that it may have cut.
    assert max(len(block) for block in blocks) <= max(most, USERS.count("u")) + batch_size
    assert len(blocks) > 1 or most + batch_size > len(USERS) - 1


def test_a_block_may_be_told_by_another_size_than_its_rows() -> None:
    rows = pa.table({"user_id": list("abcdef"), "n": [1, 1, 1, 5, 1, 1]})
    blocks = list(whole_users(rows.to_batches(max_chunksize=1), 4, lambda part: sum(part.column("n").to_pylist())))
    assert [block["user_id"].to_pylist() for block in blocks] == [["a", "b", "c"], ["d"], ["e", "f"]]
    assert list(whole_users([], 4)) == []


def test_a_group_is_never_cut() -> None:
    parts = ([1, 1, 2], [2, 2], [], [2, 3], [3, 3, 4], [4])
    batches = [pa.RecordBatch.from_arrays([pa.array(part, pa.int32())], ["bucket"]) for part in parts]
    found = [rows["bucket"].to_pylist() for rows in whole_groups(batches, "bucket", 1)]
    assert found == [[1, 1, 2, 2, 2, 2], [3, 3, 3], [4, 4]]
    assert [len(rows) for rows in whole_groups(batches, "bucket", 1000)] == [11]
