"""What Delta's own log tells of a table, without reading its data: its version, its days that changed, a commit's size.

Delta's Python interface tells of a version and of a commit through history(), which is a Spark job of half a second; so
its log is asked in the JVM, and its commits are read as its public protocol has them.
"""

import json
from typing import Any, NamedTuple

from py4j.java_gateway import JavaObject
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from nextaisle.spark import literally

# What is read of a line of the log.
_FILE = "struct<partitionValues: map<string, string>, dataChange: boolean>"
_COMMIT = f"add {_FILE}, remove {_FILE}"


class Version(NamedTuple):
    """A version of a table. Where one is built again its numbers begin anew, so Delta's id of it tells them apart."""

    number: int
    table_id: str


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

    def changed_values(self, column: str, first: int, last: int) -> set[str] | None:
        """The values of a partition column whose files came or went in versions first to last.

        None where Delta has cleaned the log of those versions away. Files that were only rewritten, as by OPTIMIZE, do
        not count.
        """
        if first > last:
            return set()
        paths = [literally(self._path(number)) for number in range(first, last + 1)]
        try:
            commits = self._spark.read.schema(_COMMIT).json(paths)
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                return None
            raise
        moved = commits.select(F.explode(F.array("add", "remove")).alias("file")).where("file.dataChange")
        values = moved.select(F.col("file.partitionValues")[column].alias("value")).distinct()
        return {row["value"] for row in values.collect()}

    def bytes_written(self, number: int) -> int:
        """By the commit of a version, as the job that made it counted."""
        store, settings = self._log.store(), self._log.newDeltaHadoopConf()
        path = self._spark._jvm.org.apache.hadoop.fs.Path(self._path(number))  # type: ignore[union-attr]
        metrics = json.loads(store.read(path, settings).head()).get("commitInfo", {}).get("operationMetrics", {})
        return int(metrics.get("numOutputBytes", metrics.get("numTargetBytesAdded", 0)))

    def _path(self, number: int) -> str:
        return f"{self._log.logPath().toString()}/{number:020d}.json"

    def _snapshot(self) -> JavaObject:
        nothing = self._spark._jvm.scala.Option.empty()  # type: ignore[union-attr]
        return self._log.update(False, nothing, nothing)
