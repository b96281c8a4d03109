from datetime import date
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession

from nextaisle.contract.tables import ITEMS
from nextaisle.contract.vocabulary import attribute_values, item_count, latest_items, vocabulary_hash

Row = tuple[str, int, int, str | None, float | None]


def items(spark: SparkSession, *rows: Row) -> DataFrame:
    """Of item_id, item_index, the January day from which it holds, brand, price."""
    values = [
        (item, index, date(2024, 1, day), None, None, None, brand, None,
         None if price is None else Decimal(price), None, date(2024, 1, 1), date(2024, 1, 9))
        for item, index, day, brand, price in rows
    ]  # fmt: skip
    return spark.createDataFrame(values, ITEMS.schema)


def test_the_hash_depends_on_neither_order_nor_attributes_nor_later_items(spark: SparkSession) -> None:
    small = items(spark, ("a", 1, 1, "Acme", 1.0), ("b", 2, 1, None, None))
    grown = items(
        spark, ("c", 3, 5, None, None), ("b", 2, 1, None, None), ("a", 1, 3, "Bolt", 2.0), ("a", 1, 1, "Acme", 1.0)
    )
    assert vocabulary_hash(grown, 2) == vocabulary_hash(small, 2)
    assert vocabulary_hash(grown, 3) != vocabulary_hash(small, 2)


def test_the_hash_tells_exchanged_indices_apart(spark: SparkSession) -> None:
    one, other = (
        items(spark, ("a", 1, 1, None, None), ("b", 2, 1, None, None)),
        items(spark, ("b", 1, 1, None, None), ("a", 2, 1, None, None)),
    )
    assert vocabulary_hash(one, 2) != vocabulary_hash(other, 2)


def test_a_vocabulary_that_lacks_an_index_of_the_model_is_another(spark: SparkSession) -> None:
    one = items(spark, ("a", 1, 1, None, None))
    two = items(spark, ("a", 1, 1, None, None), ("b", 2, 1, None, None))
    assert vocabulary_hash(one, 2) != vocabulary_hash(two, 2)


def test_attributes_are_those_of_the_newest_row_numbered_from_1(spark: SparkSession) -> None:
    rows = items(
        spark, ("a", 1, 1, "Acme", 1.0), ("a", 1, 3, "Bolt", 9.0), ("b", 2, 1, None, None), ("c", 3, 1, "Bolt", 1.0)
    )
    assert latest_items(rows).count() == item_count(rows) == 3
    found = attribute_values(rows, ("brand", "price"), 3)
    assert found["brand"].tolist() == [0, 1, 0, 1]
    # Unknown prices are 0; the dearer of two is in a higher bucket.
    assert found["price"][0] == found["price"][2] == 0
    assert 1 <= found["price"][3] < found["price"][1] <= 10


def test_items_beyond_the_count_have_no_place(spark: SparkSession) -> None:
    rows = items(spark, ("a", 1, 1, "Acme", 1.0), ("b", 2, 1, "Bolt", None))
    assert attribute_values(rows, ("brand",), 1)["brand"].tolist() == [0, 1]
    assert attribute_values(rows, (), 1) == {}
