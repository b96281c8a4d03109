"""The Spark session: the only place that sets Spark options in code. Sizes stand in conf/spark-defaults.conf."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema, to_arrow_type
from pyspark.sql.types import StructType

from nextaisle.contract.errors import ConfigurationError, InputError, NextaisleError, SchemaError
from nextaisle.contract.tables import fields_of

# What the results depend on, and whether there are any, on any machine; what only speed depends on stands in
# conf/spark-defaults.conf.
_OPTIONS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Parquet's own type, with statistics, not INT96: files a tenth smaller, written in nine tenths of the time.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Java's serializer holds the last hundred batches of a cache that goes to disk: of 10,000 rows each, 200 MB a task.
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",
    # A speculative twin of a task would repeat its side effects.
    "spark.speculation": "false",
    # Lost input must be an error, never fewer rows.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}

# What PySpark, Delta's Python and storage ask the JVM for most.
_NAMES_IN_USE = (
    "functions", "PythonSQLUtils", "PythonUtils", "PythonRDD", "SerDeUtil", "SimplePythonFunction", "scala.Option",
    "io.delta.tables.DeltaTable", "org.apache.spark.sql.delta.DeltaLog", "org.apache.hadoop.fs.Path",
)  # fmt: skip

# What Spark says of a file that ends too soon or is not what its name promises.
_UNREADABLE_FILE = (
    "FAILED_READ_FILE", "EOFException", "ZipException", "incorrect header check", "FILE_NOT_EXIST", "errors.InputError",
)  # fmt: skip
_OTHER_HEADER = "CSV header does not conform to the schema"

# Bytes of the shuffle that one task takes where `tasks_for_files` decides, at least and at most; and of how many tasks
# each core has where both allow it.
_LEAST_BYTES, _MOST_BYTES = 16 << 20, 1 << 30
_TASKS_PER_CORE = 4

T = TypeVar("T")


def create_session(name: str, master: str = "", sizes: Mapping[str, str] | None = None) -> SparkSession:
    """The running session, or a new one on `master`, or where spark-submit says.

    `sizes` are what conf/spark-defaults.conf gives under spark-submit: options that only speed depends on.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"nextaisle {name}")
    if master:
        builder = builder.master(master)
    for key, value in (_OPTIONS | dict(sizes or {})).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    _remember_names(session)
    return session


def _remember_names(session: SparkSession) -> None:
    """py4j asks for a name at each use, and the JVM searches all its JARs for one that it must try in several packages.

    For a night's plans that is thousands of times; an attribute that is there is not asked for.
    """
    for name in _NAMES_IN_USE:
        holder: Any = session._jvm
        for part in name.split("."):
            found = getattr(holder, part)
            setattr(holder, part, found)
            holder = found


def staged(rows: DataFrame, by: Column | str | None = None) -> DataFrame:
    """The same rows, computed once up to their last shuffle, whose files are kept while this is referred to.

    With `by`, the rows are shuffled by that, which costs a fraction of a cache: a cache builds columns and takes
    them apart value by value. Unlike a checkpoint's, a part that is lost with its executor is computed again. And what
    goes on from here has a plan of its own: plans within plans grow too large to print.
    """
    session = rows.sparkSession
    plan = (rows if by is None else rows.repartition(F.col(by) if isinstance(by, str) else by))._jdf
    if plan.queryExecution().optimizedPlan().maxRows().contains(0):
        return local_rows(session, [], rows.schema)  # and what comes of them Spark knows, too
    fixed = session._jsparkSession.internalCreateDataFrame(plan.queryExecution().toRdd(), plan.schema(), False)
    return DataFrame(fixed, session)


def local_rows(spark: SparkSession, rows: Sequence[Sequence[Any]], schema: StructType | str) -> DataFrame:
    """A few rows that the driver holds, or none: a part of the plan, which a task of Python need not bring.

    What comes of no rows Spark knows without a task.

    Raises:
        SchemaError: a value is null where none may be, which Spark does not look for in what comes from Arrow.
    """
    wanted = schema if isinstance(schema, StructType) else StructType(fields_of(schema))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(wanted)
    arrays = [
        pa.array([list(v.items()) if isinstance(v, dict) else v for v in values], to_arrow_type(field.dataType))
        for values, field in zip(columns, wanted.fields, strict=True)
    ]
    for array, field in zip(arrays, wanted.fields, strict=True):
        if array.null_count and not field.nullable:
            raise SchemaError(f"column {field.name} is null in {array.null_count} of {len(rows)} rows")
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=to_arrow_schema(wanted)), wanted)


def bytes_read(spark: SparkSession) -> int:
    """By all tasks of the application so far, from files; not what Python reads by itself."""
    executors = spark._jsc.sc().statusStore().executorList(False)
    return sum(int(executors.apply(number).totalInputBytes()) for number in range(executors.size()))


def literally(path: str) -> str:
    """The path for Hadoop and Spark, which would take [1] or * in it for a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def write_text(spark: SparkSession, uri: str, text: str) -> None:
    """A small file at a URI of any of Hadoop's file systems, in place of an earlier one."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(uri)
    files = path.getFileSystem(spark._jsc.hadoopConfiguration())
    files.setWriteChecksum(False)  # no .crc beside it
    stream = files.create(path, True)
    stream.write(bytearray(text, "utf-8"))
    stream.close()


@contextmanager
def beside(spark: SparkSession, work: Callable[[], T]) -> Iterator["Future[T]"]:
    """Meanwhile `work` is done in another thread; with spark.scheduler.mode FAIR both get tasks done."""

    def in_pool() -> T:
        spark.sparkContext.setLocalProperty("spark.scheduler.pool", "beside")
        return work()

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(in_pool)


@contextmanager
def tasks_for_files(spark: SparkSession, each_brings: int = 1) -> Iterator[None]:
    """Meanwhile the tasks after a shuffle are few and large where there is much, as each writes a file for every day.

    A year that is built at once would have as many files a day as Spark has tasks of 64 MB, thousands of a terabyte.
    `each_brings`: how many bytes a task has to do with, roughly, for each that the shuffle brings.
    """
    adaptive = "spark.sql.adaptive"
    sizes = {
        f"{adaptive}.advisoryPartitionSizeInBytes": _MOST_BYTES // each_brings,
        f"{adaptive}.coalescePartitions.minPartitionSize": _LEAST_BYTES // each_brings,
        f"{adaptive}.coalescePartitions.minPartitionNum": spark.sparkContext.defaultParallelism * _TASKS_PER_CORE,
    }
    with _options(spark, {key: str(size) for key, size in sizes.items()}):
        yield


@contextmanager
def mapping_rules(spark: SparkSession, time_zone: str = "UTC") -> Iterator[None]:
    """How an overlay's expressions are understood: what cannot be cast is null, and a time without a zone is local.

    Spark settles both when it analyses a plan. So they hold for all that is selected meanwhile, whenever that is
    computed, and for nothing else: the rest of the code stays ANSI and UTC.
    """
    with _options(spark, {"spark.sql.ansi.enabled": "false", "spark.sql.session.timeZone": time_zone}):
        yield


@contextmanager
def naming_unreadable_files() -> Iterator[None]:
    """Spark's errors about files of a shop as ours, which say what to do.

    Raises:
        InputError: a file cannot be read to its end, or is a CSV of another header than the first.
        ConfigurationError: nothing reads the format.
    """
    try:
        yield
    except NextaisleError:
        raise
    except (Py4JError, PySparkException) as error:
        text = str(error)
        if unknown := re.search(r"Failed to find the data source: (\S+)\.", text):
            raise ConfigurationError(f"format is {unknown[1]!r}, and nothing reads that; is it misspelt?") from error
        if _OTHER_HEADER in text:
            raise InputError(
                "a CSV file has another header than the first: give source.schema, or bring files of one header at a "
                f"time. Nothing was published. {text[text.index(_OTHER_HEADER) :][:500]}"
            ) from error
        if not any(sign in text for sign in _UNREADABLE_FILE):
            raise
        named = re.search(r"(?:file|hdfs|s3a?|abfss?|gs):/[^\s,;'\"]+", text)
        file = named.group().rstrip(".") if named else "a file of the shop"
        raise InputError(
            f"{file} cannot be read to its end: is it cut short, or not what its name says? Nothing "
            "was published; bring the file whole and run again"
        ) from error


@contextmanager
def arrow_batches(spark: SparkSession, megabytes: int) -> Iterator[None]:
    """Batches of at most about this size for Python meanwhile, however long texts are: for rows without lists."""
    with _options(spark, {"spark.sql.execution.arrow.maxBytesPerBatch": str(megabytes << 20)}):
        yield


@contextmanager
def parquet_row_groups(spark: SparkSession, megabytes: int) -> Iterator[None]:
    """Row groups of about this size, before compression, in what is written meanwhile; Parquet's own are of 128 MB."""
    with _options(spark, {"parquet.block.size": str(megabytes << 20)}):
        yield


@contextmanager
def _options(spark: SparkSession, options: Mapping[str, str]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in options}
    try:
        for key, value in options.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, earlier in before.items():
            if earlier is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, earlier)
