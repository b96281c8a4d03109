"""Which files hold the logs of which days.

With {date} in the path a folder or a file belongs to the day in its name. Without, a file belongs to the day for which
it was first read: logs that only grow by files need no dates in their names.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Source, absolute
from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import SOURCE_FILES
from nextaisle.spark import literally
from nextaisle.store import Store

DATE: str = "{date}"
_DAY = r"(\d{4}-\d{2}-\d{2})"
_ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_HIDDEN: Final = ("_", ".")
_PACKED: Final = re.compile(r"\.(gz|bz2|zstd?)$", re.IGNORECASE)


@dataclass(frozen=True)
class SourceFile:
    """A file of raw logs as it lies there now, and the day that its path names, if any."""

    path: str
    size: int
    modified_millis: int
    day: date | None

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.path, self.size, self.modified_millis


def list_files(
    spark: SparkSession, source: Source, first: date | None = None, last: date | None = None
) -> list[SourceFile]:
    """The files of `source`, in order of their paths; with {date} only those of the days first to last.

    Raises:
        InputError: no path is configured, or nothing is there.
    """
    if not source.path:
        raise InputError("source.path is empty; say in an overlay where the logs are")
    pattern = absolute(source.path)
    found = [file for place in _places(pattern, first, last) for file in _listed(spark, place, pattern)]
    if not found and not _has_folder(spark, pattern):
        raise InputError(f"{pattern}: nothing is there; expected the shop's logs, see source.path")
    return sorted(found, key=lambda file: file.path)


def days_in_logs(spark: SparkSession, source: Source) -> list[date]:
    """The days that have files; none where source.path names no days."""
    if DATE not in source.path:
        return []
    return sorted({file.day for file in list_files(spark, source) if file.day})


def unread_days(spark: SparkSession, source: Source, store: Store) -> list[date]:
    """The days with files that were not read as they are now."""
    if DATE not in source.path:
        return []
    read = _read_files(store)
    return sorted({file.day for file in list_files(spark, source) if file.day and file.identity not in read})


def files_of(
    spark: SparkSession, source: Source, store: Store, first: date | None, last: date | None
) -> list[SourceFile]:
    """The files that belong to a night's days; see the module.

    Raises:
        InputError: a day was asked for, and its folder is not there; or a file lies beside itself, packed.
    """
    files = list_files(spark, source, first, last)
    _check_single(files)
    if DATE in source.path:
        place = absolute(source.path).replace(DATE, str(first))
        if first and first == last and not files and not _is_empty_day(spark, source, place):
            raise InputError(f"{place}: not there; no logs for {first} yet?")
        return files
    read = _read_files(store)
    return [file for file in files if read.get(file.identity, last) == last]


def check_unchanged(spark: SparkSession, source: Source, files: Sequence[SourceFile]) -> None:
    """To be called when the files were read, before anything is published of them.

    Raises:
        InputError: one of them is not what it was when it was listed.
    """
    days = [file.day for file in files if file.day]
    span = (min(days), max(days)) if days else (None, None)
    there = {file.identity for file in list_files(spark, source, *span)} if files else set()
    changed = [file.path for file in files if file.identity not in there]
    if changed:
        raise InputError(
            f"{len(changed)} files of the logs changed while they were read, as {changed[0]}: is the shop still "
            "writing them? Nothing was published; run again when the day's logs are whole"
        )


def _check_single(files: Sequence[SourceFile]) -> None:
    seen: dict[str, str] = {}
    for path in (file.path for file in files):
        other = seen.setdefault(_PACKED.sub("", path), path)
        if other != path:
            raise InputError(
                f"{path} is {other} once more, packed in another way, and its events would count twice; take one of "
                "them away"
            )


def fingerprint(files: Sequence[SourceFile]) -> str:
    """A string that changes when a file comes, goes or changes."""
    return "\n".join(f"{file.path} {file.size} {file.modified_millis}" for file in files)


def _read_files(store: Store) -> dict[tuple[str, int, int], date]:
    """The files that were read, as they were, and the day for which."""
    rows = store.read(SOURCE_FILES).select(
        "path", "size", F.unix_millis("modified_time").alias("millis"), "ingest_date"
    )
    return {(row["path"], row["size"], row["millis"]): row["ingest_date"] for row in rows.collect()}


def _places(pattern: str, first: date | None, last: date | None) -> list[str]:
    if DATE not in pattern:
        return [pattern]
    if first is None or last is None:
        return [pattern.replace(DATE, _ANY_DATE)]
    return [pattern.replace(DATE, str(first + timedelta(days=n))) for n in range((last - first).days + 1)]


def _listed(spark: SparkSession, place: str, pattern: str) -> list[SourceFile]:
    """Files that match, and the files in folders that match; hidden ones, as Spark has it, are left out."""
    named = _day_in(pattern)
    files = []
    for status in _glob(spark, place):
        path = status.getPath().toString()
        if _is_in_hidden_folder(path, place):
            continue
        for file in _glob(spark, literally(path) + "/*") if status.isDirectory() else [status]:
            if file.isFile() and not file.getPath().getName().startswith(_HIDDEN):
                path = file.getPath().toString()
                files.append(SourceFile(path, file.getLen(), file.getModificationTime(), named(path)))
    return files


def _is_in_hidden_folder(path: str, place: str) -> bool:
    """Whether a name in `path` begins with _ or ., unless `place` asks for such names."""
    asked = [re.sub(r"\{[^}]*\}", "*", part) for part in place.split("/") if part.startswith(_HIDDEN)]
    hidden = [part for part in path.split("/") if part.startswith(_HIDDEN)]
    return any(not any(fnmatchcase(name, part) for part in asked) for name in hidden)


def _day_in(pattern: str) -> Callable[[str], date | None]:
    """Reads the day out of a path, from where {date} stands in the pattern.

    A pattern with braces or brackets is not followed; then the first day in the path counts.
    """
    if DATE not in pattern:
        return lambda _: None
    wild = re.escape(pattern).replace(re.escape(DATE), _DAY).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    # A folder that matched has its files behind the pattern; a scheme may stand before it.
    place = re.compile(rf"{wild}(?:/[^/]*)?$")

    def day(path: str) -> date | None:
        found = place.search(path) or re.search(_DAY, path)
        return _real_day(found.group(1)) if found else None

    return day


def _real_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _glob(spark: SparkSession, pattern: str) -> list[Any]:
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(pattern)
    try:
        return list(path.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(path) or [])
    except IllegalArgumentException as error:
        raise InputError(
            f"{pattern} cannot be listed: {error}. A name with a colon, as 10:00.json, is one that Spark cannot read; "
            "rename it"
        ) from error


def _is_empty_day(spark: SparkSession, source: Source, place: str) -> bool:
    """Whether the day has a folder with nothing in it; a day in the name of a file is there with its file, or not."""
    return DATE in source.path.rpartition("/")[0] and _has_folder(spark, place)


def _has_folder(spark: SparkSession, pattern: str) -> bool:
    """Whether the folder of the files is there, so that no file in it is a day without events."""
    folder = pattern.replace(DATE, _ANY_DATE).rsplit("/", 1)[0]
    return bool(_glob(spark, folder))
