"""Files of text to records as received: lines, or the values of multi-line JSON; packed by zstd too.

Spark from pip cannot unpack zstd but within Parquet, and of several JSON objects in a multi-line file its reader takes
the first. Both are done here, file by file in Python.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nextaisle.config import Source
from nextaisle.contract.errors import ConfigurationError, InputError

_ZSTD: Final = (".zst", ".zstd")
_LINE_SEPARATORS: Final = ("\n", "\r", "\r\n")
_RECORDS_PER_BATCH: Final = 10_000
# Brackets within strings are none; a string ends on its line, or it is broken.
_TOKEN: Final = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*"|[\[\]{}]')
_BETWEEN_VALUES: Final = b" \t\r\n,\xef\xbb\xbf"  # a byte order mark too


def read_texts(spark: SparkSession, source: Source, paths: Sequence[str]) -> DataFrame:
    """One row per record, in `value`, with Spark's path of its file in `path`."""
    is_packed = {path: is_zstd(path) for path in paths}
    packed, plain = [path for path in paths if is_packed[path]], [path for path in paths if not is_packed[path]]
    parts = [_unpacked(spark, source, packed)] if packed else []
    parts += [_plain(spark, source, plain)] if plain else []
    return parts[0] if len(parts) == 1 else parts[0].unionByName(parts[1])


def is_true(source: Source, option: str) -> bool:
    """Spark's options, whose case does not matter."""
    options = {key.lower(): text.lower() for key, text in source.options.items()}
    return options.get(option.lower()) == "true"


def is_zstd(path: str) -> bool:
    return path.lower().endswith(_ZSTD)


def split_values(text: bytes) -> Iterator[bytes]:
    """The values of a file of JSON, each as it stands there; of a file that is an array its elements.

    | text                       | values                    |
    |----------------------------|---------------------------|
    | {"a": 1} {"a": [2]}        | {"a": 1}, {"a": [2]}      |
    | [{"a": 1}, {"a": oops}]    | {"a": 1}, {"a": oops}     |
    | [{"a": 1}, {"a             | {"a": 1}, {"a             |
    | [{"a": 1}                  | {"a": 1}, [               |
    | {"a": 1} oops {"a": 2}     | {"a": 1}, oops, {"a": 2}  |

    What is no value comes too, to be refused: of a broken file nothing is lost in silence. A value that does not end
    gives up before the next line that begins as its own does: a missing bracket costs one value, not the rest.
    """
    start, place, is_list, line = 0, 0, False, b""
    while token := _TOKEN.search(text, place):
        bracket, place = token.group(), token.end()
        is_edge = bracket == (b"]" if is_list else b"[")
        if not is_edge and bracket not in (b"{", b"["):
            continue
        if between := text[start : token.start()].strip(_BETWEEN_VALUES):
            yield between
        if is_edge:
            is_list, start = not is_list, place
            continue
        start = token.start()
        end = _value_end(text, start, _next_line(text, line, start))
        if not end:
            line = line or b"\n" + text[text.rfind(b"\n", 0, start) + 1 : start + 1]
            end = _next_line(text, line, start)
            if end == len(text):
                break
        yield text[start:end].strip(_BETWEEN_VALUES)
        start = place = end
    rest = text[start:].strip(_BETWEEN_VALUES)
    if rest or is_list:
        yield rest or b"["


def _value_end(text: bytes, start: int, bound: int) -> int:
    """Where the value ends that opens at `start`; 0 if it does not, before `bound` or a bracket of the other kind."""
    depth = 0
    for token in _TOKEN.finditer(text, start, bound):
        bracket = token.group()
        depth += (bracket in (b"{", b"[")) - (bracket in (b"}", b"]"))
        if not depth:
            return token.end() if text[start : start + 1] + bracket in (b"{}", b"[]") else 0
    return 0


def _next_line(text: bytes, line: bytes, start: int) -> int:
    """Where the next line begins with `line`, if one does and it is not empty; else the end."""
    place = text.find(line, start) if line else -1
    return place if place >= 0 else len(text)


def _plain(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    # Options that say how the files are found and split, not how a line is parsed.
    options = {
        key: text for key, text in source.options.items() if key in ("lineSep", "encoding", "recursiveFileLookup")
    }
    reader = spark.read.format("text").options(**options)
    path = F.col("_metadata.file_path").alias("path")
    if not _is_multi_line(source):
        return reader.load(paths).select("value", path)
    files = reader.option("wholetext", "true").load(paths)
    return _in_python(files.select(F.col("value").cast("binary").alias("content"), path), _values)


def _unpacked(spark: SparkSession, source: Source, paths: list[str]) -> DataFrame:
    """Unpacked as it is read, so that no more than a packed file has to fit in memory."""
    separator, encoding = source.options.get("lineSep"), source.options.get("encoding", "utf-8")
    if separator not in (None, *_LINE_SEPARATORS):
        raise ConfigurationError(
            f"source.options.lineSep is {separator!r}, and {paths[0]} is packed by zstd, whose lines can end in \\n, "
            "\\r or \\r\\n alone; pack the files by gzip"
        )
    is_multi_line = _is_multi_line(source)

    def records(content: pa.Buffer, path: str) -> Iterator[bytes]:
        try:
            stream = pa.CompressedInputStream(pa.BufferReader(content), "zstd")
            yield from split_values(stream.read()) if is_multi_line else _lines(stream, encoding, separator)
        except OSError as error:
            raise InputError(f"{path} : {error}") from error

    files = spark.read.format("binaryFile").load(paths)
    return _in_python(files.select("content", F.col("_metadata.file_path").alias("path")), records)


def _lines(stream: pa.NativeFile, encoding: str, separator: str | None) -> Iterator[bytes]:
    """Without their ends; what is no valid text keeps its bytes."""
    for line in io.TextIOWrapper(stream, encoding, "surrogateescape", newline=separator):
        yield line.removesuffix(separator or "\n").encode("utf-8", "surrogateescape")


def _values(content: pa.Buffer, _path: str) -> Iterator[bytes]:
    return split_values(content.to_pybytes())


def _in_python(files: DataFrame, records: Callable[[pa.Buffer, str], Iterator[bytes]]) -> DataFrame:
    def batches(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            for content, path in zip(part.column("content"), part.column("path").to_pylist(), strict=True):
                left = records(content.as_buffer(), path)
                while some := list(islice(left, _RECORDS_PER_BATCH)):
                    columns = [pa.array(some, pa.binary()), pa.array([path] * len(some), pa.string())]
                    yield pa.RecordBatch.from_arrays(columns, ["value", "path"])

    rows = files.mapInArrow(batches, "value binary, path string")
    return rows.select(F.col("value").cast("string").alias("value"), "path")


def _is_multi_line(source: Source) -> bool:
    return source.format == "json" and is_true(source, "multiLine")
