"""The tables: the only module by which jobs read and write them.

A Store pins: the first read of a table fixes its version, later reads see the same one, and a ledger of what
was read ends up in job_runs. Nothing is committed that would leave the contents as they are.
"""

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from delta.tables import DeltaTable
from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.storagelevel import StorageLevel

from nextaisle.config import Store as StoreSettings
from nextaisle.config import absolute
from nextaisle.contract.check import check_schema
from nextaisle.contract.errors import ConfigurationError, ConflictError
from nextaisle.contract.tables import Table
from nextaisle.delta_log import COMPACTION, Change, DeltaLog, OldFile, Transaction, Version, conflicts_named, since_note
from nextaisle.earlier_releases import alterations, up_to_date
from nextaisle.folders import Folder
from nextaisle.kernels import ArrowRows, Part
from nextaisle.lookup import FileReader, FilesOfUsers, LatestRows, Listing
from nextaisle.parquet_files import NewFiles, write_files
from nextaisle.partitions import Gone, changed_partitions, condition, days_literal
from nextaisle.spark import local_rows, staged

log = logging.getLogger(__name__)

# Where Delta tells, among a session's options, which version it has made last, of whatever table.
_LAST_COMMIT: Final = "spark.databricks.delta.lastCommitVersionInSession"
# Plain readers (DuckDB, Polars, delta-rs, Trino) must be able to open every table.
_TABLE_PROPERTIES = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}


@dataclass(frozen=True)
class ActiveFile:
    """A data file that belongs to a version of a table, and the rows in it."""

    url: str
    row_count: int


@dataclass
class Ledger:
    """Delta versions of the tables that were read, and bytes written."""

    read: dict[str, Version] = field(default_factory=dict)
    bytes_written: int = 0


class Store:
    """The tables under one folder, or in one database of a catalog."""

    def __init__(self, spark: SparkSession, settings: StoreSettings) -> None:
        self.spark = spark
        self._settings = settings
        self._root = absolute(settings.root).rstrip("/")
        self._database = settings.database
        self._python_root = absolute(settings.python_root)
        self.ledger = Ledger()
        # What this store's rows were made from, None where there was no table: another's commit in between must not be
        # overwritten.
        self._base: dict[str, int | None] = {}
        self._bytes_looked_up: Accumulator[int] | None = None

    def fresh(self) -> "Store":
        """The same tables with nothing pinned and an empty ledger, for the next job."""
        return Store(self.spark, self._settings)

    def location(self, table: Table) -> str:
        """What a plain reader opens: a folder, or `database.table`."""
        return f"{self._database}.{table.name}" if self._database else f"{self._root}/{table.name}"

    def exists(self, table: Table) -> bool:
        return self.version(table) is not None

    def version(self, table: Table) -> Version | None:
        """The latest, pinned or not; None where the table is not there yet."""
        if self._database and not self.spark.catalog.tableExists(self.location(table)):
            return None
        return self._log(table).version()

    def current_version(self, table: Table) -> int | None:
        """The number of `version`."""
        version = self.version(table)
        return version.number if version else None

    def version_left(self, table: Table) -> int | None:
        """That which this store has made or, where it had nothing to write, held its rows against; else the latest."""
        base = self._base.get(table.name)
        return self.current_version(table) if base is None else base

    def knows(self, table: Table, version: Version) -> bool:
        """Whether it is a version of the table that is there now, and of none that was there before it."""
        now = self.version(table)
        return now is not None and now.table_id == version.table_id and now.number >= version.number

    def read(self, table: Table) -> DataFrame:
        """The table as of the pinned version; no rows where it was not there yet."""
        self.pin(table)
        if table.name not in self.ledger.read:
            return local_rows(self.spark, [], table.schema)
        return self._at(table, self.ledger.read[table.name].number)

    def pin(self, *tables: Table) -> None:
        """Fixes now which versions are read, and which must still be the latest when this store writes.

        A job pins what it writes before what it reads: rows of old sources then never replace those of newer ones.
        """
        for table in tables:
            was_missing = self._base.get(table.name, 0) is None
            if table.name in self.ledger.read or was_missing:
                continue
            version = self.version(table)
            self._base[table.name] = version.number if version else None
            if version:
                self.ledger.read[table.name] = version

    def latest_rows(self, table: Table, columns: Sequence[str], users: DataFrame, before: date) -> LatestRows:
        """Of a table with a row per user and day: the latest row before a day of each of `users` (user_id).

        Where Python reaches the table's folder, and has written all that is in it, it reads of the files what lookup.py
        says when the rows are needed; else Spark reads whole files for them.
        """
        day, none = _day_of(table), local_rows(self.spark, [], table.only(columns).schema)
        files = self._files_before(table, before)
        if not files:
            return LatestRows(none)
        folder, is_ours = self._folder(table), all(file["first_hash"] is not None for file in files)
        # Python reads files as they are, with the rows that deletion vectors take out of them.
        if folder is None or not is_ours or self._log(table).has_deletion_vectors():
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
        self.pin(table)
        if table.name not in self.ledger.read:
            return []
        day = _day_of(table)
        files = self._log(table).files(self.ledger.read[table.name].number, day)
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
        return self._at(table, version.number)

    def span(self, table: Table) -> tuple[date, date] | None:
        """The first and the last day that have files, as Delta's log tells; None without any."""
        day = _day_of(table)
        self.pin(table)
        if table.name not in self.ledger.read:
            return None
        files = self._log(table).files(self.ledger.read[table.name].number, day)
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
        self.pin(table)
        pinned = self.ledger.read.get(table.name)
        if pinned is None or since.table_id != pinned.table_id or since.number > pinned.number:
            return None
        return self._log(table).changes(_day_of(table), since.number + 1, pinned.number)

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
        self._replace(table, rows, where, COMPACTION)

    def _replace(
        self, table: Table, rows: DataFrame | ArrowRows, where: str, note: str | None, gone: Gone | None = None
    ) -> None:
        made = ArrowRows(table, (Part(check_schema(rows, table)),)) if isinstance(rows, DataFrame) else rows
        with self._writing(table):
            folder = self._folder(table)
            if isinstance(rows, DataFrame) or folder is None or table.partition != (table.day,):
                if gone:
                    staying = self._latest(table).where(gone.where).join(gone.keys, list(table.key), "left_anti")
                    made, where = made.plus(staying), f"({where}) OR ({gone.where})"
                self._replace_rows(table, made.frame(), where, note)
                return
            # Before anything is computed: from here on Delta tells whether somebody else commits.
            transaction = self._log(table).begin()
            self._check_base(table)
            opened = self._files_with(table, gone, transaction) if gone else []
            if gone and opened:
                made = made.plus(transaction.rows(table, opened).join(gone.keys, list(table.key), "left_anti"))
            with write_files(made, folder, self._codec) as files:
                files.refuse_unseen(self.spark)
                files.refuse_others(self.spark, table, f"({where}) OR ({gone.where})" if gone else where)
                self._replace_files(table, files, where, transaction, note, opened)

    def _files_with(self, table: Table, gone: Gone, transaction: Transaction) -> list[OldFile]:
        """The files that hold rows of these keys."""
        day, name = _day_of(table), F.col("_metadata.file_name").alias("file_name")
        rows = self._latest(table).where(gone.where).select(*{*table.key, day}, name)
        named = rows.join(gone.keys, list(table.key), "left_semi").select(day, "file_name").distinct().collect()
        found = {(row[day], row["file_name"]) for row in named}
        return [file for file in transaction.files(table, gone.where) if (file.day, file.name) in found]

    def _replace_rows(self, table: Table, rows: DataFrame, where: str, note: str | None) -> None:
        before = self._latest(table).where(where)
        if note == COMPACTION or before.isEmpty():
            self._overwrite(table, rows, where, note)
            return
        kept = rows.persist(StorageLevel.DISK_ONLY)
        try:
            if changed := changed_partitions(table, before, kept):
                # One literal tuple per partition: Delta prunes files by it.
                only = f"({where}) AND ({condition(table, changed)})"
                self._overwrite(table, kept.where(only), only, note)
        finally:
            kept.unpersist()

    def _replace_files(
        self, table: Table, files: NewFiles, where: str, transaction: Transaction, note: str | None,
        opened: Sequence[OldFile],
    ) -> None:  # fmt: skip
        """The very files that are compared with what is there are committed, or taken away."""
        only, gone, day = where, opened, _day_of(table)
        there = {file.day: True for file in opened} | transaction.days(table, where)
        if note != COMPACTION and there:
            days = self._changed_days(table, files, where, transaction, opened, there)
            if not days:
                return
            files.keep(days)
            only = f"({where}) AND {days_literal(day, days)}"
            gone = [file for file in opened if file.day in days]
        with files.committing():
            with self._committing(table):
                transaction.replace_files(table, only, files.kept, note, gone)
            # Of files that Python wrote the commit does not tell.
            self.ledger.bytes_written += sum(file.size for file in files.kept)

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
        before = self._latest(table).where(where).where(literal)
        if old := [file for file in opened if file.day in both]:
            before = before.unionByName(transaction.rows(table, old))
        changed = changed_partitions(table, before, files.rows(self.spark, table, both))
        return known | {row[table.day] for row in changed}

    def delete(self, table: Table, where: str) -> None:
        """Empties the partitions of `where`, which speaks of partition columns only; no commit where there are none."""
        if not self.exists(table):
            return
        with self._writing(table):
            if not self._latest(table).where(where).isEmpty():
                self._check_base(table)
                with self._committing(table):
                    self._delta(table).delete(where)

    def merge(self, table: Table, rows: DataFrame, where: str = "false") -> None:
        """Inserts rows with a new key, and updates those whose other columns differ.

        Of what is there, rows of `where` whose keys `rows` lack are deleted.
        """
        check_schema(rows, table)
        with self._writing(table) as is_new:
            if is_new:
                self._save(table, rows.write.format("delta").mode("append"))
                return
            before = self._latest(table)
            same, same_key = (
                [rows[name].eqNullSafe(before[name]) for name in names] for names in (table.names, table.key)
            )
            differing = rows.join(before, same, "left_anti").withColumn("is_gone", F.lit(False))
            gone = before.where(where).join(rows, same_key, "left_anti").withColumn("is_gone", F.lit(True))
            # What follows looks at them three times.
            changes = staged(differing.unionByName(gone), table.key[0])
            if changes.isEmpty():
                return
            self._check_base(table)
            keys = " AND ".join(f"old.{name} <=> new.{name}" for name in table.key)
            merging = self._delta(table).alias("old").merge(changes.alias("new"), keys)
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

    def _latest(self, table: Table) -> DataFrame:
        """The newest committed version, whatever is pinned: what a write replaces."""
        return self._at(table, self.current_version(table) or 0)

    def _at(self, table: Table, version: int) -> DataFrame:
        reader = self.spark.read.format("delta").option("versionAsOf", version)
        place = self.location(table)
        return up_to_date(reader.table(place) if self._database else reader.load(place), table)

    def _folder(self, table: Table) -> Folder | None:
        """The table's, which is there, as tasks of Python reach it; None where only Spark does.

        Raises:
            ConfigurationError: store.python_root is no place, or holds another table than Spark's.
        """
        name = self._log(table).folder()
        if not self._python_root:
            return Folder.local(name)
        folder, version = Folder.within(self._python_root, name), self.current_version(table) or 0
        # Which has a time and a random number of its commit.
        line = self._log(table).first_line(version).encode()
        if not folder.has(self._log(table).commit_file(version), line):
            raise ConfigurationError(
                f"store.python_root = {self._python_root!r} does not hold version {version} of table {table.name}, "
                f"which Spark has in {name}; expected the same folder, by another name"
            )
        return folder

    def _log(self, table: Table) -> DeltaLog:
        if self._database:
            return DeltaLog(self.spark, self._delta(table)._jdt.deltaLog())
        return DeltaLog.of_folder(self.spark, self.location(table))

    def _delta(self, table: Table) -> DeltaTable:
        if self._database:
            return DeltaTable.forName(self.spark, self.location(table))
        return DeltaTable.forPath(self.spark, self.location(table))

    def _create(self, table: Table) -> None:
        if not self._database:
            self._log(table).clear_remains()
        builder = DeltaTable.createIfNotExists(self.spark).comment(table.comment)
        builder = builder.tableName(self.location(table)) if self._database else builder.location(self.location(table))
        for column in table.columns:
            builder = builder.addColumn(column.name, column.type, nullable=column.is_nullable, comment=column.comment)
        bounds = {"delta.dataSkippingStatsColumns": ",".join(table.bounded)} if table.bounded else {}
        for key, value in (_TABLE_PROPERTIES | bounds).items():
            builder = builder.property(key, value)
        (builder.partitionedBy(*table.partition) if table.partition else builder).execute()

    def _bring_up_to_date(self, table: Table) -> None:
        """Gives a table of an earlier release the columns, and the room for nulls, that it has been given since."""
        changes = alterations(table, self._log(table).schema())
        name = self.location(table) if self._database else f"delta.`{self.location(table)}`"
        for change in changes:
            log.info("table %s of an earlier release: %s", table.name, change)
            self.spark.sql(f"ALTER TABLE {name} {change}")
        if changes and table.name in self._base:
            self._base[table.name] = self.current_version(table) or 0

    def _overwrite(self, table: Table, rows: DataFrame, where: str, note: str | None = None) -> None:
        self._check_base(table)
        writer = rows.write.format("delta").mode("overwrite")
        writer = writer.option("userMetadata", note) if note else writer
        writer = writer.option("replaceWhere", where) if table.partition else writer
        self._save(table, writer)

    def _save(self, table: Table, writer: DataFrameWriter, is_append: bool = False) -> None:
        with self._committing(table, is_append):
            if self._database:
                writer.saveAsTable(self.location(table))
            else:
                writer.save(self.location(table))

    @contextmanager
    def _committing(self, table: Table, is_append: bool = False) -> Iterator[None]:
        """Notes the version that is made within, if one is: the newest may be another writer's by now."""
        self.spark.conf.unset(_LAST_COMMIT)
        yield
        if not (made := self.spark.conf.get(_LAST_COMMIT, None)):
            return
        if not is_append:
            self._base[table.name] = int(made)
        self.ledger.bytes_written += self._log(table).bytes_written(int(made))
        log.info("committed version %s of %s", made, table.name)

    @contextmanager
    def _writing(self, table: Table, is_append: bool = False) -> Iterator[bool]:
        """Alone on a local disk, where Delta itself does not exclude another JVM; conflicts get our exit code.

        Gives whether the table was made for this write, so is empty.
        """
        with conflicts_named(table), self._alone(table):
            if not is_append:
                self._check_base(table)
            is_new = not self.exists(table)
            if is_new:
                self._create(table)
                self._base |= {} if is_append else {table.name: 0}
            else:
                self._bring_up_to_date(table)
            yield is_new

    def _check_base(self, table: Table) -> None:
        """Also right before a write: Delta's transaction begins there, and knows of nothing that came before it.

        Raises:
            ConflictError: another writer committed since the table was read.
        """
        current = self.current_version(table)
        base = self._base.get(table.name, current)
        if current != base:
            since = "it was found missing" if base is None else f"version {base} was read"
            raise ConflictError(f"another job wrote table {table.name} since {since}; run the job again")

    @contextmanager
    def _alone(self, table: Table) -> Iterator[None]:
        root = Path(self._root.removeprefix("file:"))
        if self._database or not root.is_absolute():
            yield
            return
        folder = root / "_locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / table.name).open("w") as lock:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _day_of(table: Table) -> str:
    if table.day is None:
        raise ValueError(f"table {table.name} is not laid out by days")
    return table.day
