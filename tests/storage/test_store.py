import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import reduce
from pathlib import Path

import pytest
from deltalake import write_deltalake
from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession
from pyspark.sql import functions as F

from nextaisle import overlays
from nextaisle.changes import EVERYTHING
from nextaisle.config import Settings
from nextaisle.contract.errors import ConflictError, SchemaError
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SEQUENCES, Table
from nextaisle.storage.delta_log import Transaction
from nextaisle.storage.kernels import ArrowRows, Part
from nextaisle.storage.partitions import Gone, changed_partitions
from nextaisle.storage.store import Store


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


def test_a_table_that_was_found_missing_stays_so_for_whoever_makes_it(spark: SparkSession, store: Store) -> None:
    store.pin(SEQUENCES)
    store.replace_days(SEQUENCES, sequences(spark, 1), date(2024, 1, 1), date(2024, 1, 1))
    assert (store.read(SEQUENCES).count(), dict(store.versions_read)) == (0, {})
    store.replace_days(SEQUENCES, sequences(spark, 2), date(2024, 1, 1), date(2024, 1, 2))
    assert days_of(store) == [2]


def test_writing_what_is_already_there_does_not_commit(spark: SparkSession, store: Store) -> None:
    store.replace_days(SEQUENCES, sequences(spark, 1, 2), date(2024, 1, 1), date(2024, 1, 2))
    before = store.fresh().current_version(SEQUENCES)
    store.fresh().replace_days(SEQUENCES, sequences(spark, 1, 2), date(2024, 1, 1), date(2024, 1, 2))
    assert store.fresh().current_version(SEQUENCES) == before


def test_a_merge_of_known_rows_does_not_commit(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    before = store.fresh().current_version(SEQUENCES)
    store.fresh().merge(SEQUENCES, sequences(spark, 1))
    assert store.fresh().current_version(SEQUENCES) == before


def test_a_merge_takes_away_what_the_rows_no_longer_name(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1, 2, 3))
    store.merge(SEQUENCES, sequences(spark, 2, 4), "as_of_date >= DATE'2024-01-02'")
    assert days_of(store) == [1, 2, 4]
    version = store.fresh().current_version(SEQUENCES)
    store.fresh().merge(SEQUENCES, sequences(spark, 2, 4), "as_of_date >= DATE'2024-01-02'")
    assert store.fresh().current_version(SEQUENCES) == version


def test_a_merge_updates_what_differs_and_rewrites_no_file_for_rows_that_are_new(
    spark: SparkSession, store: Store
) -> None:
    store.merge(SEQUENCES, sequences(spark, 1, 2))
    first = store.fresh().active_files(SEQUENCES, "true")
    store.merge(SEQUENCES, sequences(spark, 1, 2, 3))
    assert {file.url for file in first} < {file.url for file in store.fresh().active_files(SEQUENCES, "true")}
    twice = sequences(spark, 2).withColumn("event_count", F.lit(2).cast("bigint"))
    store.merge(SEQUENCES, twice)
    rows = store.fresh().read(SEQUENCES).orderBy("as_of_date").collect()
    assert [(row["as_of_date"].day, row["event_count"]) for row in rows] == [(1, 1), (2, 2), (3, 1)]


def test_a_read_stays_at_the_version_first_seen(spark: SparkSession, store: Store) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    reader = store.fresh()
    assert reader.read(SEQUENCES).count() == 1
    store.merge(SEQUENCES, sequences(spark, 2))
    assert reader.read(SEQUENCES).count() == 1
    assert days_of(store) == [1, 2]


def test_a_table_that_was_built_again_is_not_the_one_that_stood_there(
    spark: SparkSession, store: Store, settings: Settings
) -> None:
    store.merge(SEQUENCES, sequences(spark, 1))
    earlier = store.version(SEQUENCES)
    assert earlier is not None
    assert store.fresh().changed_days(SEQUENCES, earlier) == set()
    shutil.rmtree(f"{settings.store.root}/sequences")
    assert store.fresh().changed_days(SEQUENCES, earlier) is None
    for day in (2, 3):
        store.fresh().merge(SEQUENCES, sequences(spark, day))
    again = store.fresh()
    assert again.current_version(SEQUENCES) == earlier.number + 1
    assert not again.knows(SEQUENCES, earlier)
    assert again.changed_days(SEQUENCES, earlier) is None


@pytest.mark.parametrize("by_python", [True, False])
def test_a_compaction_takes_rows_away_and_is_no_change_of_its_days(
    spark: SparkSession, store: Store, by_python: bool
) -> None:
    store.replace_days(SEQUENCES, sequences(spark, 1, 2, 3), date(2024, 1, 1), date(2024, 1, 3))
    before = store.version(SEQUENCES)
    assert before is not None
    rows = sequences(spark, 2)
    store.compact(
        SEQUENCES, ArrowRows(SEQUENCES, (Part(rows),)) if by_python else rows, "as_of_date < DATE'2024-01-03'"
    )
    assert days_of(store) == [2, 3]
    assert store.fresh().changed_days(SEQUENCES, before) == set()
    store.fresh().replace_days(SEQUENCES, sequences(spark, 3, item="b"), date(2024, 1, 3), date(2024, 1, 3))
    assert store.fresh().changed_days(SEQUENCES, before) == {date(2024, 1, 3)}


@pytest.mark.parametrize("by_python", [True, False])
def test_a_commit_knows_since_when_it_tells_otherwise_where_it_was_told(
    spark: SparkSession, store: Store, by_python: bool
) -> None:
    def replace(*days: int, item: str, since: date | None) -> None:
        rows = sequences(spark, *days, item=item)
        made = ArrowRows(SEQUENCES, (Part(rows),)) if by_python else rows
        store.fresh().replace(SEQUENCES, made, f"as_of_date >= DATE'2024-01-0{days[0]}'", since)

    replace(1, 2, 3, item="a", since=date(2024, 1, 1))
    before = store.version(SEQUENCES)
    assert before is not None
    replace(2, 3, item="b", since=date(2024, 1, 3))
    assert store.fresh().changed_days(SEQUENCES, before) == {date(2024, 1, 2), date(2024, 1, 3)}
    assert store.fresh().first_changed_day(SEQUENCES, before) == date(2024, 1, 3)
    # Of all days those were changed that differ.
    again = store.fresh().version(SEQUENCES)
    assert again is not None
    replace(3, item="c", since=EVERYTHING)
    assert store.fresh().first_changed_day(SEQUENCES, again) == date(2024, 1, 3)
    replace(2, 3, item="c", since=None)
    assert store.fresh().first_changed_day(SEQUENCES, before) == date(2024, 1, 2)


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


def test_a_table_that_another_made_meanwhile_is_not_overwritten(spark: SparkSession, store: Store) -> None:
    assert store.read(SEQUENCES).isEmpty()
    store.fresh().merge(SEQUENCES, sequences(spark, 1))
    assert store.read(SEQUENCES).isEmpty()
    with pytest.raises(ConflictError, match="found missing"):
        store.replace_days(SEQUENCES, sequences(spark, 2), date(2024, 1, 1), date(2024, 1, 2))
    assert days_of(store) == [1]


def test_a_commit_while_rows_are_compared_is_not_overwritten(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an object store, where no lock keeps others away meanwhile."""
    store.merge(SEQUENCES, sequences(spark, 1))
    slow = store.fresh()
    rows = slow.read(SEQUENCES).withColumn("event_count", F.lit(7).cast("bigint"))

    def another_commits_first(table: Table, before: DataFrame, after: DataFrame) -> list[Row]:
        sequences(spark, 2).write.format("delta").mode("append").save(store.location(SEQUENCES))
        return changed_partitions(table, before, after)

    monkeypatch.setattr("nextaisle.storage.store.changed_partitions", another_commits_first)
    with pytest.raises(ConflictError, match="since version"):
        slow.replace_days(SEQUENCES, rows, date(2024, 1, 1), date(2024, 1, 2))
    assert days_of(store) == [1, 2]


@pytest.mark.parametrize("is_by_python", [True, False])
def test_a_commit_right_after_ones_own_is_another_writers(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch, is_by_python: bool
) -> None:
    """As on an object store; another program makes it, so that it is none of this session."""
    store.merge(SEQUENCES, sequences(spark, 1))
    mine, theirs = store.fresh(), sequences(spark, 3).toArrow()
    of, name = (Transaction, "replace_files") if is_by_python else (DataFrameWriter, "save")
    original = getattr(of, name)

    def followed_by_another(*of_the_commit: object) -> None:
        original(*of_the_commit)
        write_deltalake(store.location(SEQUENCES), theirs, mode="append")

    rows = sequences(spark, 2)
    monkeypatch.setattr(of, name, followed_by_another)
    all_days = "as_of_date IS NOT NULL"
    mine.replace(SEQUENCES, ArrowRows(SEQUENCES, (Part(rows),)) if is_by_python else rows, all_days)
    assert (mine.number_left(SEQUENCES), store.current_version(SEQUENCES)) == (2, 3)
    with pytest.raises(ConflictError, match="since version 2 was read"):
        mine.replace(SEQUENCES, rows, all_days)
    assert days_of(store) == [2, 3]


def test_rows_with_ids_of_their_own_are_added_whatever_others_wrote(spark: SparkSession, store: Store) -> None:
    store.append(SEQUENCES, sequences(spark, 1))
    store.read(SEQUENCES)
    store.fresh().append(SEQUENCES, sequences(spark, 2))
    store.append(SEQUENCES, sequences(spark, 3))
    assert days_of(store) == [1, 2, 3]


def test_a_table_of_an_earlier_release_is_read_with_nulls_and_gains_its_columns_when_it_is_written(
    spark: SparkSession, store: Store
) -> None:
    was = {"record": {"is_nullable": False}, "event": {"type": "struct<event_id:string,user_id:string>"}}
    columns = [
        replace(column, **was.get(column.name, {})) for column in REJECTED_EVENTS.columns if column.name != "rule"
    ]
    earlier = replace(REJECTED_EVENTS, columns=tuple(columns))
    known = {"ingest_date": date(2024, 1, 1), "path": "p", "record_hash": "h", "ordinal": 1, "reason": "unreadable"}
    old_row = {name: known.get(name) for name in earlier.names} | {"record": bytearray(b"x"), "event": ("e", "u")}
    others = old_row | {"ordinal": 3, "event": None}
    store.append(earlier, spark.createDataFrame([old_row, others], earlier.schema))

    later = store.fresh()
    assert later.read(REJECTED_EVENTS).columns == REJECTED_EVENTS.names
    event = {"event_id": "f", "query": "shoes"}
    new_row = {name: known.get(name) for name in REJECTED_EVENTS.names} | {"ordinal": 2, "reason": "bot", "rule": "r"}
    new_row["event"] = tuple(event.get(column.name) for column in EVENTS.columns)
    later.append(REJECTED_EVENTS, spark.createDataFrame([new_row], REJECTED_EVENTS.schema))
    rows = store.fresh().read(REJECTED_EVENTS).orderBy("ordinal").collect()
    assert [(row["rule"], row["record"]) for row in rows] == [(None, b"x"), ("r", None), (None, b"x")]
    events = [row["event"] and (row["event"]["event_id"], row["event"]["query"]) for row in rows]
    assert events == [("e", None), ("f", "shoes"), None]


def test_a_table_of_an_earlier_release_that_cannot_be_filled_is_told(spark: SparkSession, store: Store) -> None:
    earlier = replace(SEQUENCES, columns=SEQUENCES.columns[:-1])
    rows = sequences(spark, 1)
    store.append(earlier, rows.drop(rows.columns[-1]))
    with pytest.raises(SchemaError, match="earlier release, without"):
        store.fresh().read(SEQUENCES)


@pytest.mark.parametrize("name", ["file://{}/tables", "file:{}/tables", "{}/a[1] *{{b}}?"])
def test_a_folder_may_be_a_uri_and_hold_characters_of_patterns(name: str, spark: SparkSession, tmp_path: Path) -> None:
    """Without a lock a local disk lets two writers in; without its log a table would be rebuilt each night."""
    store = Store(spark, overlays.load(assignments=[f"store.root={name.format(tmp_path)}"]).store)
    store.merge(SEQUENCES, sequences(spark, 1))
    first = store.version(SEQUENCES)
    assert first
    store.merge(SEQUENCES, sequences(spark, 2))
    assert store.fresh().changed_days(SEQUENCES, first) == {date(2024, 1, 2)}
    assert [path.name for path in tmp_path.glob("*/_locks/*")] == ["sequences"]


def test_a_table_whose_first_commit_was_killed_is_made_anew(spark: SparkSession, store: Store) -> None:
    log = Path(store.location(SEQUENCES), "_delta_log")
    (log / "_staged_commits").mkdir(parents=True)
    for name in (".00000000000000000000.json.0998b72f.tmp", "..00000000000000000000.json.0998b72f.tmp.crc"):
        (log / name).write_text("{")
    store.fresh().replace_days(SEQUENCES, sequences(spark, 1), date(2024, 1, 1), date(2024, 1, 1))
    assert days_of(store) == [1]


@pytest.mark.parametrize("by_python", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_rows_that_are_gone_take_no_other_file_of_their_day_along(
    spark: SparkSession, store: Store, by_python: bool
) -> None:
    def rows(day: int, users: str) -> DataFrame:
        frames = [sequences(spark, day).withColumn("user_id", F.lit(user)) for user in users]
        return reduce(DataFrame.unionByName, frames).coalesce(1)

    def night(made: DataFrame, gone: str) -> dict[tuple[str, int], str]:
        """Where each row lies after a night of the third day, which takes users from the days before."""
        keys = store.fresh().read(SEQUENCES).where(f"user_id IN ({gone})").select(*SEQUENCES.key)
        new = ArrowRows(SEQUENCES, (Part(made),)) if by_python else made
        here, before = "as_of_date = DATE'2024-01-03'", "as_of_date < DATE'2024-01-03'"
        store.fresh().replace(SEQUENCES, new, here, None, Gone(keys.where(before), before))
        return places()

    def places() -> dict[tuple[str, int], str]:
        found = store.fresh().read(SEQUENCES).select("*", F.col("_metadata.file_name").alias("file")).collect()
        return {(row["user_id"], row["as_of_date"].day): row["file"] for row in found}

    for users in ("ab", "cd"):
        store.append(SEQUENCES, rows(1, users).unionByName(rows(2, users)).repartition("as_of_date"))
    spark.sql(f"ALTER TABLE delta.`{store.location(SEQUENCES)}` ADD COLUMNS (somebodys string)")
    before = places()
    after = night(rows(1, "e").unionByName(rows(3, "a")), "'a'")
    assert after.keys() == {("b", 1), ("c", 1), ("d", 1), ("e", 1), ("b", 2), ("c", 2), ("d", 2), ("a", 3)}
    stay = {key for key in before if key[0] in "cd"}
    assert {key: after[key] for key in stay} == {key: before[key] for key in stay} or not by_python
    assert after["b", 1] != before["b", 1]
    version = store.fresh().current_version(SEQUENCES)
    # The same night again takes what it has made.
    assert night(rows(1, "e").unionByName(rows(3, "a")), "'e'") == after
    assert store.fresh().current_version(SEQUENCES) == version
    assert night(rows(3, "a"), "'nobody'") == after
