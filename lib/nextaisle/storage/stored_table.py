"""One table where it is stored, a folder or a name in a catalog: as Delta has it, and as tasks of Python reach it."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

from nextaisle.config import Store as StoreSettings
from nextaisle.config import absolute
from nextaisle.contract.errors import ConfigurationError
from nextaisle.contract.tables import Table
from nextaisle.storage.delta_log import DeltaLog, Version
from nextaisle.storage.earlier_releases import alterations, up_to_date
from nextaisle.storage.folders import Folder

log = logging.getLogger(__name__)

# Plain readers (DuckDB, Polars, delta-rs, Trino) must be able to open every table.
_PROPERTIES = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}


class StoredTable:
    """A table that need not be there yet."""

    def __init__(self, spark: SparkSession, settings: StoreSettings, table: Table) -> None:
        self.table = table
        self._spark = spark
        self._root = absolute(settings.root).rstrip("/")
        self._database = settings.database
        self._python_root = absolute(settings.python_root)

    @property
    def location(self) -> str:
        """What a plain reader opens: a folder, or `database.table`."""
        return f"{self._database}.{self.table.name}" if self._database else f"{self._root}/{self.table.name}"

    @property
    def log(self) -> DeltaLog:
        """Of a database, only where the table is there."""
        if self._database:
            return DeltaLog(self._spark, self.delta()._jdt.deltaLog())
        return DeltaLog.of_folder(self._spark, self.location)

    def version(self) -> Version | None:
        """The latest; None where the table is not there yet."""
        if self._database and not self._spark.catalog.tableExists(self.location):
            return None
        return self.log.version()

    def delta(self) -> DeltaTable:
        named = DeltaTable.forName if self._database else DeltaTable.forPath
        return named(self._spark, self.location)

    def at(self, version: int) -> DataFrame:
        """Its rows as of a version, with the columns that the table has now."""
        reader = self._spark.read.format("delta").option("versionAsOf", version)
        return up_to_date(reader.table(self.location) if self._database else reader.load(self.location), self.table)

    def latest(self) -> DataFrame:
        """The newest committed version, whatever is pinned: what a write replaces."""
        version = self.version()
        return self.at(version.number if version else 0)

    def folder(self) -> Folder | None:
        """Of a table that is there, as tasks of Python reach it; None where only Spark does.

        Raises:
            ConfigurationError: store.python_root is no place, or holds another table than Spark's.
        """
        name = self.log.folder()
        if not self._python_root:
            return Folder.local(name)
        folder, version = Folder.within(self._python_root, name), self.version()
        number = version.number if version else 0
        # Which has a time and a random number of its commit.
        line = self.log.first_line(number).encode()
        if not folder.has(self.log.commit_file(number), line):
            raise ConfigurationError(
                f"store.python_root = {self._python_root!r} does not hold version {number} of table "
                f"{self.table.name}, which Spark has in {name}; expected the same folder, by another name"
            )
        return folder

    def save(self, writer: DataFrameWriter) -> None:
        if self._database:
            writer.saveAsTable(self.location)
        else:
            writer.save(self.location)

    def create(self) -> None:
        table = self.table
        if not self._database:
            self.log.clear_remains()
        builder = DeltaTable.createIfNotExists(self._spark).comment(table.comment)
        builder = builder.tableName(self.location) if self._database else builder.location(self.location)
        for column in table.columns:
            builder = builder.addColumn(column.name, column.type, nullable=column.is_nullable, comment=column.comment)
        bounds = {"delta.dataSkippingStatsColumns": ",".join(table.bounded)} if table.bounded else {}
        for key, value in (_PROPERTIES | bounds).items():
            builder = builder.property(key, value)
        (builder.partitionedBy(*table.partition) if table.partition else builder).execute()

    def bring_up_to_date(self) -> None:
        """Gives a table of an earlier release the columns, and the room for nulls, that it has been given since."""
        name = self.location if self._database else f"delta.`{self.location}`"
        for change in alterations(self.table, self.log.schema()):
            log.info("table %s of an earlier release: %s", self.table.name, change)
            self._spark.sql(f"ALTER TABLE {name} {change}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """On a local disk no other process is within at the same time: Delta itself does not exclude another JVM."""
        root = Path(self._root.removeprefix("file:"))
        if self._database or not root.is_absolute():
            yield
            return
        folder = root / "_locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / self.table.name).open("w") as lock:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
