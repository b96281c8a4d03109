"""The tables: the only module by which jobs read and write them.

A Store pins: the first read of a table fixes its version, later reads see the same one, and what was read ends up in
job_runs. Nothing is committed that would leave the contents as they are.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final

from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.storagelevel import StorageLevel

from nextaisle.config import Store as StoreSettings
from nextaisle.contract.check import check_schema
from nextaisle.contract.tables import Table
from nextaisle.spark import local_rows, staged
from nextaisle.storage.delta_log import COMPACTION, Change, OldFile, Transaction, Version, conflicts_named, since_note
from nextaisle.storage.folders import Folder
from nextaisle.storage.kernels import ArrowRows, Part
from nextaisle.storage.latest_rows import FileReader, FilesOfUsers, LatestRows, Listing
from nextaisle.storage.parquet_files import NewFiles, write_files
from nextaisle.storage.partitions import Gone, changed_partitions, condition, days_literal
from nextaisle.storage.pins import Pins
from nextaisle.storage.stored_table import StoredTable

log = logging.getLogger(__name__)

# Where Delta tells, among a session's options, which version it has made last, of whatever table.
_LAST_COMMIT: Final = "spark.databricks.delta.lastCommitVersionInSession"


@dataclass(frozen=True)
class ActiveFile:
    """A data file that belongs to a version of a table, and the rows in it."""

    url: str
    row_count: int


class Store:
    """The tables under one folder, or in one database of a catalog."""

    def __init__(self, spark: SparkSession, settings: StoreSettings) -> None:
        self.spark = spark
        self._settings = settings
        self._pins = Pins()
        self._bytes_written = 0
        self._bytes_looked_up: Accumulator[int] | None = None

    def fresh(self) -> "Store":
        """The same tables with nothing pinned and nothing counted, for the next job."""
        return Store(self.spark, self._settings)

    def location(self, table: Table) -> str:
        """What a plain reader opens: a folder, or `database.table`."""
        return self._stored(table).location

    def exists(self, table: Table) -> bool:
        return self.version(table) is not None

    def version(self, table: Table) -> Version | None:
        """The latest, pinned or not; None where the table is not there yet."""
        return self._stored(table).version()

    def current_version(self, table: Table) -> int | None:
        """The number of `version`."""
        version = self.version(table)
        return version.number if version else None

    def number_left(self, table: Table) -> int | None:
        """That which this store has made or, where it had nothing to write, held its rows against; else the latest."""
        base = self._pins.last(table)
        return self.current_version(table) if base is None else base

    def knows(self, table: Table, version: Version) -> bool:
        """Whether it is a version of the table that is there now, and of none that was there before it."""
        now = self.version(table)
        return now is not None and now.table_id == version.table_id and now.number >= version.number

    def read(self, table: Table) -> DataFrame:
        """The table as of the pinned version; no rows where it was not there yet."""
        pinned = self._pinned(table)
        return self._stored(table).at(pinned.number) if pinned else local_rows(self.spark, [], table.schema)

    @property
    def versions_read(self) -> Mapping[str, Version]:
        """The pinned ones of tables that are there, by the tables' names."""
        return self._pins.read

    @property
    def bytes_written(self) -> int:
        return self._bytes_written

    def pin(self, *tables: Table) -> None:
        """Fixes now which versions are read, and which must still be the latest when this store writes.

        A job pins what it writes before what it reads: rows of old sources then never replace those of newer ones.
        """
        for table in tables:
            if not self._pins.has(table):
                self._pins.pin(table, self.version(table))

    def _pinned(self, table: Table) -> Version | None:
        self.pin(table)
        return self._pins.of(table)

    def latest_rows(self, table: Table, columns: Sequence[str], users: DataFrame, before: date) -> LatestRows:
        """Of a table with a row per user and day: the latest row before a day of each of `users` (user_id).

        Where Python reaches the table's folder, and has written all that is in it, it reads of the files what
        latest_rows.py says when the rows are needed; else Spark reads whole files for them.
        """
        day, none = _day_of(table), local_rows(self.spark, [], table.only(columns).schema)
        files = self._files_before(table, before)
        if not files:
            return LatestRows(none)
        stored = self._stored(table)
        folder, is_ours = stored.folder(), all(file["first_hash"] is not None for file in files)
        # Python reads files as they are, with the rows that deletion vectors take out of them.
        if folder is None or not is_ours or stored.log.has_deletion_vectors():
            if not is_ours:
                log.warning("table %s has files of another program or release: all of its days are read", table.name)
            known = self.read(table).where(F.col(day) < F.lit(before))
            latest = known.join(users, "user_id", "left_semi").groupBy("user_id").agg(F.max(day).alias(day))
            return LatestRows(known.join(latest, ["user_id", day], "left_semi").select(*columns))
        listing = self.spark.sparkContext.broadcast(Listing.of(folder, files, day))
        reader = FileReader(folder, self._looked_up().add)
        return LatestRows(none, FilesOfUsers(listing, reader, to_arrow_schema(none.schema), day))

    def _files_before(self, table: Table, before: date) -> list[Row]:
        """What Delta's log tells of the files of days before this one, the latest first."""
        if not (pinned := self._pinned(table)):
            return []
        day = _day_of(table)
        files = self._stored(table).log.files(pinned.number, day)
        return files.where(F.col(day) < F.lit(before)).orderBy(F.col(day).desc(), "path").collect()

    @property
    def bytes_looked_up(self) -> int:
        """What Python has read of files in `latest_rows`, of which Spark's own counters do not know."""
        return self._bytes_looked_up.value if self._bytes_looked_up else 0

    def _looked_up(self) -> "Accumulator[int]":
        self._bytes_looked_up = self._bytes_looked_up or self.spark.sparkContext.accumulator(0)
        return self._bytes_looked_up

    def read_earlier(self, table: Table, version: Version) -> DataFrame:
        """The table as of an earlier version; what Spark raises when it reads files that VACUUM has taken."""
        return self._stored(table).at(version.number)

    def span(self, table: Table) -> tuple[date, date] | None:
        """The first and the last day that have files, as Delta's log tells; None without any."""
        day = _day_of(table)
        if not (pinned := self._pinned(table)):
            return None
        files = self._stored(table).log.files(pinned.number, day)
        row = files.agg(F.min(day).alias("first"), F.max(day).alias("last")).collect()[0]
        return None if row["first"] is None else (row["first"], row["last"])

    def active_files(self, table: Table, where: str) -> list[ActiveFile]:
        """The data files of the pinned version that hold rows of `where`, in order of their names.

        `where` speaks of partition columns only, so a file belongs to it as a whole.
        """
        rows = self.read(table).where(where).groupBy(F.col("_metadata.file_path").alias("url"))
        return [ActiveFile(row["url"], row["count"]) for row in rows.count().orderBy("url").collect()]

    def first_changed_day(self, table: Table, since: Version) -> date | None:
        """The earliest day of whose events the table tells otherwise, through the pinned version, than in `since`.

        A commit knows it where it was told (`replace`); of another it is the earliest of its days. None where there is
        none; the first of all days where `changed_days` does not know.
        """
        changes = self._changes(table, since)
        if changes is None:
            return date.min
        # A commit of a whole table has told that of events since ever, and changed the days that differ.
        days = (max(change.since or date.min, date.fromisoformat(min(change.values))) for change in changes)
        return min(days, default=None)

    def changed_days(self, table: Table, since: Version) -> set[date] | None:
        """The days with files that came or went after version `since`, through the pinned one.

        None where Delta has cleaned the log of those versions away, or where `since` is of a table that was here
        before. Files that were only rewritten, as by OPTIMIZE, do not count, and neither does `compact`.
        """
        changes = self._changes(table, since)
        return None if changes is None else {date.fromisoformat(day) for change in changes for day in change.values}

    def _changes(self, table: Table, since: Version) -> list[Change] | None:
        pinned = self._pinned(table)
        if pinned is None or since.table_id != pinned.table_id or since.number > pinned.number:
            return None
        return self._stored(table).log.changes(_day_of(table), since.number + 1, pinned.number)

    def replace_days(self, table: Table, rows: DataFrame, first: date, last: date) -> None:
        """Makes `rows` the contents of the days first to last; see `replace`."""
        day = _day_of(table)
        self.replace(table, rows, f"{day} >= DATE'{first:%Y-%m-%d}' AND {day} <= DATE'{last:%Y-%m-%d}'")

    def replace(
        self, table: Table, rows: DataFrame | ArrowRows, where: str, since: date | None = None, gone: Gone | None = None
    ) -> None:
        """Makes `rows` the contents of the partitions of `where`. Partitions that already hold them are not touched.

        Of other partitions those are gone that `gone` tells, and `rows` may have some in their place; what else the
        files hold in which these were is written again, and no other file of the partitions.

        `where` speaks of partition columns only. Every row of `rows` must match it, or be of a partition where `gone`
        is, else the write is refused. A table without partitions is replaced as a whole, where "true". Python writes
        what it has made by itself, where it reaches the table's folder. `since` is the first day whose events the rows
        may tell otherwise than those before them, where a row of an earlier day may change too: the session that began
        on day 4 goes on, since 5. `first_changed_day` goes by it.

        Raises:
            SchemaError: `rows` are not the table's.
            ConflictError: another writer committed meanwhile.
        """
        self._replace(table, rows, where, since_note(since) if since else None, gone)

    def compact(self, table: Table, rows: DataFrame | ArrowRows, where: str) -> None:
        """Makes `rows` the contents of the partitions of `where`, each of which loses rows that no answer needs.

        `changed_days` leaves such a commit out. The partitions are known to differ, so they are not read to compare
        them. Raises what `replace` does.
        """
        self._replace(table, rows, where, COMPACTION, is_known_to_differ=True)

    def _replace(
        self, table: Table, rows: DataFrame | ArrowRows, where: str, note: str | None = None, gone: Gone | None = None,
        is_known_to_differ: bool = False,
    ) -> None:  # fmt: skip
        made = ArrowRows(table, (Part(check_schema(rows, table)),)) if isinstance(rows, DataFrame) else rows
        with self._writing(table):
            folder = self._stored(table).folder()
            # What Spark has made is Spark's to write; and Python deals rows to files by their days alone.
            if folder and made is rows and table.partition == (table.day,):
                self._replace_by_python(made, where, note, gone, is_known_to_differ, folder)
            else:
                self._replace_by_spark(made, where, note, gone, is_known_to_differ)

    def _replace_by_spark(
        self, made: ArrowRows, where: str, note: str | None, gone: Gone | None, is_known_to_differ: bool
    ) -> None:
        table, latest = made.table, self._stored(made.table).latest()
        if gone:
            staying = latest.where(gone.where).join(gone.keys, list(table.key), "left_anti")
            made, where = made.plus(staying), f"({where}) OR ({gone.where})"
        before = latest.where(where)
        if is_known_to_differ or before.isEmpty():
            self._overwrite(table, made.frame(), where, note)
            return
        kept = made.frame().persist(StorageLevel.DISK_ONLY)
        try:
            if changed := changed_partitions(table, before, kept):
                # One literal tuple per partition: Delta prunes files by it.
                only = f"({where}) AND ({condition(table, changed)})"
                self._overwrite(table, kept.where(only), only, note)
        finally:
            kept.unpersist()

    def _replace_by_python(
        self, made: ArrowRows, where: str, note: str | None, gone: Gone | None, is_known_to_differ: bool, folder: Folder
    ) -> None:
        """The very files that are compared with what is there are committed, or taken away."""
        table = made.table
        # Before anything is computed: from here on Delta tells whether somebody else commits.
        transaction = self._stored(table).log.begin()
        self._pins.check(table, self.version(table))
        opened = self._files_with(table, gone, transaction) if gone else []
        if gone and opened:
            made = made.plus(transaction.rows(table, opened).join(gone.keys, list(table.key), "left_anti"))
        with write_files(made, folder, self._codec) as files:
            files.refuse_unseen(self.spark)
            files.refuse_others(self.spark, table, f"({where}) OR ({gone.where})" if gone else where)
            there = {file.day: True for file in opened} | transaction.days(table, where)
            if there and not is_known_to_differ:
                days = self._changed_days(table, files, where, transaction, opened, there)
                if not days:
                    return
                files.keep(days)
                where = f"({where}) AND {days_literal(_day_of(table), days)}"
                opened = [file for file in opened if file.day in days]
            with files.committing():
                with self._committing(table):
                    transaction.replace_files(table, where, files.kept, note, opened)
                # Of files that Python wrote the commit does not tell.
                self._bytes_written += sum(file.size for file in files.kept)

    def _files_with(self, table: Table, gone: Gone, transaction: Transaction) -> list[OldFile]:
        """The files that hold rows of these keys."""
        day, name = _day_of(table), F.col("_metadata.file_name").alias("file_name")
        rows = self._stored(table).latest().where(gone.where).select(*{*table.key, day}, name)
        named = rows.join(gone.keys, list(table.key), "left_semi").select(day, "file_name").distinct().collect()
        found = {(row[day], row["file_name"]) for row in named}
        return [file for file in transaction.files(table, gone.where) if (file.day, file.name) in found]

    def _changed_days(
        self, table: Table, files: NewFiles, where: str, transaction: Transaction, opened: Sequence[OldFile],
        there: Mapping[date, bool],
    ) -> set[date]:  # fmt: skip
        """Those whose rows differ, of the days of `files` and those `there`; of the days of one alone none are read.

        And those that have files without hashes, by which later nights cannot look rows up, where the new ones have.
        """
        made = {file.day for file in files.kept}
        hashed = {file.day for file in files.kept if file.first_hash is not None}
        known = (made ^ there.keys()) | {day for day in hashed if not there.get(day, True)}
        both = made - known
        if not both:
            return known
        literal = days_literal(_day_of(table), both)
        before = self._stored(table).latest().where(where).where(literal)
        if old := [file for file in opened if file.day in both]:
            before = before.unionByName(transaction.rows(table, old))
        changed = changed_partitions(table, before, files.rows(self.spark, table, both))
        return known | {row[table.day] for row in changed}

    def delete(self, table: Table, where: str) -> None:
        """Empties the partitions of `where`, which speaks of partition columns only; no commit where there are none."""
        if not self.exists(table):
            return
        with self._writing(table):
            if not self._stored(table).latest().where(where).isEmpty():
                self._pins.check(table, self.version(table))
                with self._committing(table):
                    self._stored(table).delta().delete(where)

    def merge(self, table: Table, rows: DataFrame, where: str = "false") -> None:
        """Inserts rows with a new key, and updates those whose other columns differ.

        Of what is there, rows of `where` whose keys `rows` lack are deleted.
        """
        check_schema(rows, table)
        with self._writing(table) as is_new:
            if is_new:
                self._save(table, rows.write.format("delta").mode("append"))
                return
            before = self._stored(table).latest()
            same, same_key = (
                [rows[name].eqNullSafe(before[name]) for name in names] for names in (table.names, table.key)
            )
            differing = rows.join(before, same, "left_anti").withColumn("is_gone", F.lit(False))
            gone = before.where(where).join(rows, same_key, "left_anti").withColumn("is_gone", F.lit(True))
            # What follows looks at them three times.
            changes = staged(differing.unionByName(gone), table.key[0])
            if changes.isEmpty():
                return
            self._pins.check(table, self.version(table))
            keys = " AND ".join(f"old.{name} <=> new.{name}" for name in table.key)
            merging = self._stored(table).delta().alias("old").merge(changes.alias("new"), keys)
            merging = merging.whenMatchedDelete("new.is_gone").whenMatchedUpdateAll().whenNotMatchedInsertAll()
            with self._committing(table):
                merging.execute()

    def append(self, table: Table, rows: DataFrame) -> None:
        """Adds rows whose keys are known to be new, as an id made for this run.

        They were made from nothing that was read, so other writers may have been there meanwhile.
        """
        check_schema(rows, table)
        with self._writing(table, is_append=True):
            self._save(table, rows.write.format("delta").mode("append"), is_append=True)

    @property
    def _codec(self) -> str:
        return self.spark.conf.get("spark.sql.parquet.compression.codec") or "zstd"

    def _stored(self, table: Table) -> StoredTable:
        return StoredTable(self.spark, self._settings, table)

    def _overwrite(self, table: Table, rows: DataFrame, where: str, note: str | None = None) -> None:
        self._pins.check(table, self.version(table))
        writer = rows.write.format("delta").mode("overwrite")
        writer = writer.option("userMetadata", note) if note else writer
        writer = writer.option("replaceWhere", where) if table.partition else writer
        self._save(table, writer)

    def _save(self, table: Table, writer: DataFrameWriter, is_append: bool = False) -> None:
        with self._committing(table, is_append):
            self._stored(table).save(writer)

    @contextmanager
    def _committing(self, table: Table, is_append: bool = False) -> Iterator[None]:
        """Notes the version that is made within, if one is: the newest may be another writer's by now."""
        self.spark.conf.unset(_LAST_COMMIT)
        yield
        if not (made := self.spark.conf.get(_LAST_COMMIT, None)):
            return
        if not is_append:
            self._pins.wrote(table, int(made))
        self._bytes_written += self._stored(table).log.bytes_written(int(made))
        log.info("committed version %s of %s", made, table.name)

    @contextmanager
    def _writing(self, table: Table, is_append: bool = False) -> Iterator[bool]:
        """Alone on a local disk, where Delta itself does not exclude another JVM; conflicts get our exit code.

        Gives whether the table was made for this write, so is empty.
        """
        stored = self._stored(table)
        with conflicts_named(table), stored.alone():
            was = stored.version()
            if not is_append:
                self._pins.check(table, was)
            with self._committing(table, is_append):
                stored.create() if was is None else stored.bring_up_to_date()
            yield was is None


def _day_of(table: Table) -> str:
    if table.day is None:
        raise ValueError(f"table {table.name} is not laid out by days")
    return table.day
