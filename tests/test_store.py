from datetime import UTC, date, datetime

import pytest
from pyspark.sql import DataFrame, SparkSession

from nextaisle.contract.errors import ConflictError
from nextaisle.contract.tables import SEQUENCES
from nextaisle.store import Store


def sequences(spark: SparkSession, *days: int, item: str = "a") -> DataFrame:
    rows = [
        ("u", date(2024, 1, day), 1, [item], [1], ["view"], [datetime(2024, 1, day, tzinfo=UTC)], [None], [True])
        for day in days
    ]
    return spark.createDataFrame(rows, SEQUENCES.schema)


def days_of(store: Store) -> list[int]:
    return sorted(row.as_of_date.day for row in store.fresh().read(SEQUENCES).collect())


def test_days_outside_the_replaced_range_stay(spark: SparkSession, store: Store) -> None:
    store.replace_days(SEQUENCES, sequences(spark, 1, 2, 3), date(2024, 1, 1), date(2024, 1, 3))
    store.replace_days(SEQUENCES, sequences(spark, 2), date(2024, 1, 2), date(2024, 1, 3))
    assert days_of(store) == [1, 2]


def test_writing_what_is_already_there_does_not_commit(spark: SparkSession, store: Store) -> None:
    store.replace_days(SEQUENCES, sequences(spark, 1, 2), date(2024, 1, 1), date(2024, 1, 2))
    again = store.fresh()
    again.replace_days(SEQUENCES, sequences(spark, 1, 2), date(2024, 1, 1), date(2024, 1, 2))
    assert again.ledger.written == {}


def test_a_merge_of_known_rows_does_not_commit(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    again = store.fresh()
    again.merge(SEQUENCES, sequences(spark, 1))
    assert again.ledger.written == {}


def test_a_read_stays_at_the_version_first_seen(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    reader = store.fresh()
    assert reader.read(SEQUENCES).count() == 1
    store.merge(SEQUENCES, sequences(spark, 2))
    assert reader.read(SEQUENCES).count() == 1
    assert days_of(store) == [1, 2]


def test_active_files_leave_out_what_was_replaced(spark: SparkSession, store: Store) -> None:
    for item in ("a", "b"):
        store.replace_days(SEQUENCES, sequences(spark, 1, item=item), date(2024, 1, 1), date(2024, 1, 1))
    files = store.fresh().active_files(SEQUENCES, "as_of_date = DATE'2024-01-01'")
    assert [file.row_count for file in files] == [1]


def test_rows_made_of_what_another_has_since_replaced_are_refused(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    slow = store.fresh()
    rows = slow.read(SEQUENCES)
    store.fresh().merge(SEQUENCES, sequences(spark, 2))
    with pytest.raises(ConflictError, match="since version"):
        slow.replace_days(SEQUENCES, rows, date(2024, 1, 1), date(2024, 1, 2))
    assert days_of(store) == [1, 2]


def test_rows_with_ids_of_their_own_are_added_whatever_others_wrote(spark: SparkSession, store: Store) -> None:
    store.append(SEQUENCES, sequences(spark, 1))
    store.read(SEQUENCES)
    store.fresh().append(SEQUENCES, sequences(spark, 2))
    store.append(SEQUENCES, sequences(spark, 3))
    assert days_of(store) == [1, 2, 3]
