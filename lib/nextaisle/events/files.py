"""Which files hold the logs of which days.

With {date} in the path a folder or a file belongs to the day in its name. Without, a file belongs to the day for which
it was first read: logs that only grow by files need no dates in their names.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from pyspark.errors import IllegalArgumentException
from pyspark.sql import Column, Row, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Source, absolute
from nextaisle.contract.errors import InputError
from nextaisle.contract.tables import SOURCE_FILES
from nextaisle.spark import literally
from nextaisle.storage.store import Store

DATE: str = "{date}"
_DAY = r"(\d{4}-\d{2}-\d{2})"
_ANY_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_HIDDEN: Final = ("_", ".")
_WILD: Final = re.compile(r"[*?\[]")
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
        InputError: no path is configured, or nothing is there, or a path names a day that no calendar has.
    """
    if not source.path:
        raise InputError("source.path is empty; say in an overlay where the logs are")
    pattern = absolute(source.path)
    found = [file for place in _places(pattern, first, last) for file in _listed(spark, place, pattern)]
    if not found and not _has_folder(spark, pattern):
        raise InputError(f"{pattern}: nothing is there; expected the shop's logs, see source.path")
    return sorted(found, key=lambda file: file.path)


def names_days(source: Source) -> bool:
    """Whether paths tell which day a file is of; else it is of that for which it was first read."""
    return DATE in source.path


def days_in_logs(spark: SparkSession, source: Source) -> list[date]:
    """The days that have files; none where source.path names no days.

    Raises:
        InputError: one of them was still to come when the newest of the files was written.
    """
    if not names_days(source):
        return []
    files = list_files(spark, source)
    _check_is_over(files)
    return sorted({file.day for file in files if file.day})


def files_of(
    spark: SparkSession, source: Source, store: Store, first: date | None, last: date | None
) -> list[SourceFile]:
    """The files that belong to a night's days; see the module.

    Raises:
        InputError: the folder of the last day asked for is not there; or a file lies beside itself, packed; or, where
            paths name no days, a file that was read for this one is gone.
    """
    files = list_files(spark, source, first, last)
    _check_single(files)
    if names_days(source):
        if last and not any(file.day == last for file in files) and not _has_folder_of(spark, source, last):
            raise InputError(f"{absolute(source.path).replace(DATE, str(last))}: not there; no logs for {last} yet?")
        return files
    read = read_files(store)
    _check_still_there(read.values(), files, last)
    return [file for file in files if file.identity not in read or read[file.identity]["ingest_date"] == last]


def days_delivered(
    spark: SparkSession, source: Source, files: Sequence[SourceFile], first: date | None, last: date | None
) -> tuple[date, ...]:
    """The days that these files stand for, and those asked for whose folder is there, and empty: days without events.

    | asked  | folders            | days    |
    |--------|--------------------|---------|
    | 1 to 4 | 1, 3 empty, 4      | 1, 3, 4 |
    """
    found = {day for file in files if (day := file.day or last)}
    if first and last and names_days(source):
        asked = {first + timedelta(days=n) for n in range((last - first).days + 1)}
        found |= {day for day in asked - found if _has_folder_of(spark, source, day)}
    elif last and first == last:
        found.add(last)
    return tuple(sorted(found))


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


def _check_still_there(read: Collection[Row], files: Sequence[SourceFile], day: date | None) -> None:
    """The events of a day are those of its files: without one that was archived they would be fewer."""
    there = {file.path for file in files}
    gone = sorted(row["path"] for row in read if row["ingest_date"] == day and row["path"] not in there)
    if gone:
        raise InputError(
            f"{len(gone)} files that were read for {day} are gone, as {gone[0]}: the day is read as a whole, and would "
            "lose their events. Nothing was published; bring them back, or an empty file in the place of one whose "
            "events are to go"
        )


def read_files(store: Store, is_wanted: Column | str = "true") -> dict[tuple[str, int, int], Row]:
    """The files that were read, as they were: rows of source_files."""
    rows = store.read(SOURCE_FILES).where(is_wanted).withColumn("millis", F.unix_millis("modified_time"))
    return {(row["path"], row["size"], row["millis"]): row for row in rows.collect()}


def fingerprint(files: Sequence[SourceFile]) -> str:
    """A string that changes when a file comes, goes or changes."""
    return "\n".join(f"{file.path} {file.size} {file.modified_millis}" for file in files)


def _check_is_over(files: Sequence[SourceFile]) -> None:
    """Days in the names of folders are held against the times of files: no clock is asked."""
    newest = max((file.modified_millis for file in files), default=0)
    # In the east a day begins, and ends, half a day before UTC's.
    last = datetime.fromtimestamp(newest / 1000, UTC).date() + timedelta(days=1)
    later = [file for file in files if file.day and file.day > last]
    # Where that holds of all of them, their times say nothing.
    if later and len(later) < len(files):
        raise InputError(
            f"{later[0].path} is of {later[0].day}, and the newest file of the logs was written before {last}: is the "
            "day in its name right? Move it away, or say --date, or --from and --to"
        )


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
        return _real_day(found.group(1), path) if found else None

    return day


def _real_day(text: str, path: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{path} is of {text}, a day that no calendar has; mend its name, or move it away, or say --date, or "
            "--from and --to"
        ) from error


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


def _has_folder_of(spark: SparkSession, source: Source, day: date) -> bool:
    """Whether the day's folder is there; a day in the name of a file is there with its file, or not."""
    pattern = absolute(source.path)
    folder = _folder(pattern)
    places = _glob(spark, (folder if DATE in folder else pattern).replace(DATE, str(day)))
    return any(status.isDirectory() for status in places)


def _has_folder(spark: SparkSession, pattern: str) -> bool:
    """Whether the folder of the files is there, so that no file in it is a day without events."""
    return bool(_glob(spark, _folder(pattern).replace(DATE, _ANY_DATE)))


def _folder(pattern: str) -> str:
    """That which is there on a day without files, too: of hours, or of shops by pattern, there may be none then.

    | pattern               | folder          |
    |-----------------------|-----------------|
    | logs/*.json           | logs            |
    | logs/{date}/web/*/*   | logs/{date}/web |
    | logs/{date}*.json     | logs            |
    """
    names = pattern.split("/")
    parent, dated = names[:-1], next((place for place, name in enumerate(names[:-1]) if DATE in name), None)
    if dated is None:
        return "/".join(parent)
    wild = (place for place in range(dated + 1, len(parent)) if _WILD.search(names[place]))
    folder = "/".join(names[: next(wild, len(parent))])
    # Alternatives may hold strokes.
    return folder if folder.count("{") == folder.count("}") else "/".join(parent)
