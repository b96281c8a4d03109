"""Logs that lie in a database: each day brought once, as Parquet files where `source` reads, and kept as received.

So a day that was built can be built again from what was received, whatever the database says by then, and
source_files knows what was read of it as of any other file.
"""

import logging
import os
from datetime import date, timedelta
from typing import Any, Final

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from nextaisle.config import Database, Settings, absolute, without_secrets
from nextaisle.contract.errors import ConfigurationError, InputError

log = logging.getLogger(__name__)
_DATE: Final = "{date}"
# Spark's committer writes it last.
_WHOLE: Final = "_SUCCESS"
# A time without a zone stays one, so that source.time_zone says what it means.
_OPTIONS: Final = {"preferTimestampNTZ": "true", "fetchsize": "10000"}


def write_database_logs(
    spark: SparkSession, settings: Settings, first: date | None, last: date | None
) -> dict[str, int]:
    """Brings the days first to last and counts them; a day that is there stays as it is, until its folder is deleted.

    A day is written beside its place and moved there when it is whole, so nothing that others have laid down is lost.

    Raises:
        ConfigurationError: no database is configured, source.path has no folder per day, or no day was asked for.
        InputError: the database cannot be reached, or refuses the query; or the day's folder holds other files.
    """
    folder = _folder(settings)
    if first is None or last is None:
        raise ConfigurationError("a database does not say which of its days are over; say --date, or --from and --to")
    reader = _options(settings.database)
    counts = {"days": 0, "days_brought": 0, "rows": 0}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        counts["days"] += 1
        place = folder.replace(_DATE, day.isoformat())
        if not _is_whole(spark, place):
            counts["rows"] += _bring(spark, settings.database, reader, day, place)
            counts["days_brought"] += 1
    return counts


def _folder(settings: Settings) -> str:
    if not settings.database.url:
        raise ConfigurationError("database.url is empty; say in an overlay which database holds the logs")
    folder = absolute(settings.source.path).rpartition("/")[0]
    if not folder.endswith(_DATE) or settings.source.format != "parquet":
        raise ConfigurationError(
            f"source.path is {settings.source.path!r} and source.format {settings.source.format!r}; what a database "
            "gives is kept in a folder per day: source.path = 'var/shop/logs/{date}/*.parquet', format = 'parquet'"
        )
    return folder


def _options(database: Database) -> dict[str, str]:
    options = _OPTIONS | database.options | {"url": database.url}
    if database.password_variable:
        if database.password_variable not in os.environ:
            raise ConfigurationError(
                f"database.password_variable is {database.password_variable!r}, and there is no such environment "
                "variable; set it to the password"
            )
        options["password"] = os.environ[database.password_variable]
    return options


def _bring(spark: SparkSession, database: Database, options: dict[str, str], day: date, place: str) -> int:
    query = database.query.replace(_DATE, day.isoformat())
    # Hidden from all that reads logs; what a killed run has left there is written anew.
    part = "/.".join(place.rsplit("/", 1))
    try:
        rows: DataFrame = spark.read.format("jdbc").options(**options).option("query", query).load()
        rows.write.mode("overwrite").parquet(part)
    except (Py4JError, PySparkException) as error:
        raise InputError(f"the database does not answer {query!r}: {_said(error)}; {day} is not there yet") from error
    _move(spark, part, place)
    count = spark.read.schema(rows.schema).parquet(place).count()
    log.info("%s: %s rows of the database", day, f"{count:,}")
    return count


def _said(error: Exception) -> str:
    """Its first line, a driver's own words where they are a driver's."""
    text = str(error.java_exception.toString()) if isinstance(error, Py4JJavaError) else str(error)
    return str(without_secrets((text.splitlines() or [type(error).__name__])[0][:500]))


def _move(spark: SparkSession, part: str, place: str) -> None:
    files, source = _path(spark, part)
    _, target = _path(spark, place)
    # Of a folder Hadoop would make one within it; one that is not empty is not deleted, but an error.
    if files.exists(target):
        files.delete(target, False)
    if not files.rename(source, target):
        raise InputError(f"{part} could not be moved to {place}; may this user write there? Run again")


def _is_whole(spark: SparkSession, place: str) -> bool:
    """Whether the day is there.

    Raises:
        InputError: files are there that fetch_database_logs has not brought, or not as a whole.
    """
    files, path = _path(spark, place)
    if files.exists(_path(spark, f"{place}/{_WHOLE}")[1]):
        return True
    if files.exists(path) and len(files.listStatus(path)):
        raise InputError(
            f"{place} holds files and no {_WHOLE}, so they are not what fetch_database_logs brings; move them away, or "
            "give the days of the database a folder of their own in source.path"
        )
    return False


def _path(spark: SparkSession, place: str) -> tuple[Any, Any]:
    """Its file system, and Hadoop's name of it."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(place)
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path
