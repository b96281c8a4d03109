"""Delta's own log: what it tells of a table without reading its data, and the commit of files that Python wrote.

Its version, its days that changed, a commit's size: Delta's Python interface tells of them through history(), which is
a Spark job of half a second; so its log is asked in the JVM, and its commits are read as its public protocol has them.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from delta.exceptions import captured
from py4j.java_gateway import JavaObject
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nextaisle.contract.errors import ConflictError
from nextaisle.contract.tables import Table
from nextaisle.spark import literally
from nextaisle.storage.parquet_files import NewFile

# Delta's conflicts of the JVM are Python's exceptions once `captured` was imported; they have no class in common.
_CONFLICTS: Final = (
    captured.DeltaConcurrentModificationException, captured.ConcurrentWriteException,
    captured.MetadataChangedException, captured.ProtocolChangedException, captured.ConcurrentAppendException,
    captured.ConcurrentDeleteReadException, captured.ConcurrentDeleteDeleteException,
    captured.ConcurrentTransactionException,
)  # fmt: skip
# What is read of a line of the log.
_FILE = "struct<partitionValues: map<string, string>, dataChange: boolean>"
_COMMIT = f"add {_FILE}, remove {_FILE}, commitInfo struct<userMetadata: string>"
# What Delta's log keeps of a file that has embedded rows.
_TAGS: Final = {"first_hash": "nextaisle.firstUserHash", "last_hash": "nextaisle.lastUserHash"}
# What Delta's log says of a commit of rows that answer what more rows answered before.
COMPACTION: Final = "compaction: as of any day the table tells what it told"
# What it says of one whose rows tell otherwise of events from a day on, whatever the days of the rows are.
_SINCE: Final = "of events since "


@contextmanager
def conflicts_named(table: Table) -> Iterator[None]:
    """
    Raises:
        ConflictError: another writer committed meanwhile what was read or written here.
    """
    try:
        yield
    except _CONFLICTS as error:
        raise ConflictError(f"another writer changed table {table.name} meanwhile; run the job again") from error


class Version(NamedTuple):
    """A version of a table. Where one is built again its numbers begin anew, so Delta's id of it tells them apart."""

    number: int
    table_id: str


class Change(NamedTuple):
    """What one commit changed: partitions, by their values, and the first day whose events it tells otherwise."""

    values: frozenset[str]
    since: date | None


def since_note(day: date) -> str:
    """A commit's note by which `Change.since` is `day`."""
    return f"{_SINCE}{day}"


class DeltaLog:
    """The log of one table, which need not be there yet."""

    def __init__(self, spark: SparkSession, log: JavaObject) -> None:
        self._spark = spark
        self._log = log

    @classmethod
    def of_folder(cls, spark: SparkSession, folder: str) -> "DeltaLog":
        jvm: Any = spark._jvm
        return cls(spark, jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, folder))

    def version(self) -> Version | None:
        """The latest; None where the table is not there yet."""
        snapshot = self._snapshot()
        number = int(snapshot.version())
        return Version(number, str(snapshot.metadata().id())) if number >= 0 else None

    def schema(self) -> StructType:
        return StructType.fromJson(json.loads(self._snapshot().schema().json()))

    def changes(self, column: str, first: int, last: int) -> list[Change] | None:
        """By commit, of versions first to last, the values of a partition column whose files came or went.

        None where Delta has cleaned the log of those versions away. Files that were only rewritten, as by OPTIMIZE, do
        not count, and neither do those of a compaction.
        """
        if first > last:
            return []
        paths = [literally(self._path(number)) for number in range(first, last + 1)]
        try:
            commits = self._spark.read.schema(_COMMIT).json(paths)
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                return None
            raise
        note, commit = F.col("commitInfo.userMetadata").alias("note"), F.col("_metadata.file_path").alias("commit")
        moved = commits.select(commit, note, F.explode(F.array("add", "remove")).alias("file"))
        value = F.when(F.col("file.dataChange"), F.col("file.partitionValues")[column])
        by_commit = moved.groupBy("commit").agg(F.max("note").alias("note"), F.collect_set(value).alias("values"))
        changing = by_commit.where(~F.col("note").eqNullSafe(COMPACTION) & (F.size("values") > 0)).collect()
        return [Change(frozenset(row["values"]), _since(row["note"])) for row in changing]

    def has_deletion_vectors(self) -> bool:
        """Whether rows may be deleted of which the files still tell, as where somebody has allowed that."""
        return bool(self._snapshot().protocol().readerFeatureNames().contains("deletionVectors"))

    def folder(self) -> str:
        """The table's, as a URI in which nothing is escaped."""
        return str(self._log.dataPath().toString())

    def files(self, number: int, day: str) -> DataFrame:
        """The data files of a version: path, as a URL in the folder or a whole one, and the partition's day.

        And `first_hash` and `last_hash`, as NewFile has them; null of a file that another program has written.
        """
        none = self._spark._jvm.scala.Option.empty()  # type: ignore[union-attr]
        return _files_of(self._spark, self._log.getSnapshotAt(number, none, none), day)

    def begin(self) -> "Transaction":
        return Transaction(self._spark, self._log.startTransaction())

    def clear_remains(self) -> None:
        """Takes away the log of a table that is not there: what a writer left that was killed before its first commit.

        Delta would find a folder with something in it, and make no table there. Only hidden files go, which are never
        part of a log, and folders that are empty then.

        Raises:
            Py4JJavaError: the log holds something else.
        """
        log = self._log.logPath()
        files = log.getFileSystem(self._log.newDeltaHadoopConf())
        if not files.exists(log):
            return
        for status in files.listStatus(log):
            if status.isDirectory() or status.getPath().getName().startswith("."):
                files.delete(status.getPath(), False)
        files.delete(log, False)

    def bytes_written(self, number: int) -> int:
        """By the commit of a version, as the job that made it counted."""
        metrics = json.loads(self.first_line(number)).get("commitInfo", {}).get("operationMetrics", {})
        return int(metrics.get("numOutputBytes", metrics.get("numTargetBytesAdded", 0)))

    def first_line(self, number: int) -> str:
        """Of the file of a version's commit."""
        path = self._spark._jvm.org.apache.hadoop.fs.Path(self._path(number))  # type: ignore[union-attr]
        return str(self._log.store().read(path, self._log.newDeltaHadoopConf()).head())

    def commit_file(self, number: int) -> str:
        """Where in the folder that is."""
        return f"{self._log.logPath().getName()}/{number:020d}.json"

    def _path(self, number: int) -> str:
        return f"{self._log.dataPath().toString()}/{self.commit_file(number)}"

    def _snapshot(self) -> JavaObject:
        nothing = self._spark._jvm.scala.Option.empty()  # type: ignore[union-attr]
        return self._log.update(False, nothing, nothing)


class OldFile(NamedTuple):
    """A file of a version of a table; Spark calls it by this name in `_metadata`."""

    day: date
    name: str
    action: JavaObject


class Transaction:
    """A commit to come: it fails where another writer commits what it reads between its beginning and its end."""

    def __init__(self, spark: SparkSession, transaction: JavaObject) -> None:
        self._spark, self._transaction = spark, transaction

    def replace_files(
        self, table: Table, where: str, files: Sequence[NewFile], note: str | None = None, gone: Sequence[OldFile] = ()
    ) -> None:
        """Commits `files`, which lie in the folder already, in place of `gone` and of what lies where `where` is true.

        Nothing is committed where there is neither. Of a file Delta is told its rows, not its columns' bounds: within a
        day they leave no file out. `note` is kept with the commit, as its userMetadata.

        Raises:
            ConflictError: another writer committed such partitions meanwhile.
        """
        jvm: Any = self._spark._jvm
        action = jvm.org.apache.spark.sql.delta.actions.Action.fromJson
        actions = [action(_added(table, file)) for file in files]
        actions += [file.remove() for file in (*self._matching(where), *(file.action for file in gone))]
        if not actions:
            return
        some = jvm.scala.Option.apply
        layout = some(self._sequence(list(table.partition)))
        overwrite = jvm.org.apache.spark.sql.SaveMode.Overwrite
        operation = getattr(jvm.org.apache.spark.sql.delta, "DeltaOperations$Write")
        write = operation(overwrite, layout, some(where), some(note))
        with conflicts_named(table):
            self._transaction.commit(self._sequence(actions), write)

    def days(self, table: Table, where: str) -> dict[date, bool]:
        """Those that have files, where `where` is true of them, and whether all of these have hashes, as NewFile."""
        day = table.partition[0]
        files = _files_of(self._spark, self._transaction.snapshot(), day).where(where)
        is_hashed = F.bool_and(F.col("first_hash").isNotNull()).alias("is_hashed")
        return {row[day]: row["is_hashed"] for row in files.groupBy(day).agg(is_hashed).collect()}

    def files(self, table: Table, where: str) -> list[OldFile]:
        """The files whose partitions match `where`."""
        day = table.partition[0]
        return [
            OldFile(date.fromisoformat(file.partitionValues().apply(day)), _name(file.path()), file)
            for file in self._matching(where)
        ]

    def rows(self, table: Table, files: Sequence[OldFile]) -> DataFrame:
        """Those in these files, and in no other; columns that somebody has added to the table are left out."""
        nothing = self._spark._jvm.scala.Option.empty()  # type: ignore[union-attr]
        actions = self._sequence([file.action for file in files])
        snapshot = self._transaction.snapshot()
        found = self._transaction.deltaLog().createDataFrame(snapshot, actions, False, nothing)
        return DataFrame(found, self._spark).select(*table.names)

    def _matching(self, where: str) -> list[JavaObject]:
        condition = self._spark._jsparkSession.sessionState().sqlParser().parseExpression(where)
        found = self._transaction.filterFiles(self._sequence([condition]), False)
        return [found.apply(number) for number in range(found.length())]

    def _sequence(self, elements: list[Any]) -> JavaObject:
        return self._spark._jvm.org.apache.spark.api.python.PythonUtils.toSeq(elements)  # type: ignore[union-attr]


def _files_of(spark: SparkSession, snapshot: JavaObject, day: str) -> DataFrame:
    files = DataFrame(snapshot.allFiles().toDF(), spark)
    hashes = [F.col("tags")[_TAGS[name]].cast("bigint").alias(name) for name in _TAGS]
    return files.select("path", F.col("partitionValues")[day].cast("date").alias(day), *hashes)


def _name(path: str) -> str:
    """Of a file, whose path is a URL in the folder or a whole one."""
    return unquote(path.rsplit("/", 1)[-1])


def _since(note: str | None) -> date | None:
    return date.fromisoformat(note.removeprefix(_SINCE)) if note and note.startswith(_SINCE) else None


def _added(table: Table, file: NewFile) -> str:
    """The action of Delta's protocol that makes a file part of the table."""
    stats = {"numRecords": file.row_count}
    values = {table.partition[0]: str(file.day)}
    tags = {_TAGS["first_hash"]: str(file.first_hash), _TAGS["last_hash"]: str(file.last_hash)}
    added = {
        "path": file.path, "partitionValues": values, "size": file.size,
        "modificationTime": int(time.time() * 1000), "dataChange": True, "stats": json.dumps(stats),
        "tags": tags if file.first_hash is not None else None,
    }  # fmt: skip
    return json.dumps({"add": added})
