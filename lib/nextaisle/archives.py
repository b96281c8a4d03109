"""Archives on Python's path, as pyspark.zip, are read anew only where they have changed.

Spark's Python workers call importlib.invalidate_caches before each task, and Python 3.11 then reads the directory of
each archive, once for each folder in it that something was imported from: a fifth of a second of every task (CPython's
issue 103200, SPARK-54744).
"""

import zipimport
from pathlib import Path
from typing import Final

_reread: Final = zipimport.zipimporter.invalidate_caches
_seen: Final[dict[str, tuple[int, int]]] = {}


def read_once() -> None:
    """From now on an archive is read at the first invalidation, and at another where its file has changed."""
    zipimport.zipimporter.invalidate_caches = _invalidate_changed  # type: ignore[assignment, method-assign]


def _invalidate_changed(archive: zipimport.zipimporter) -> None:
    path, name = Path(archive.archive), f"{archive.archive}/{archive.prefix}"
    state = (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (0, 0)
    if _seen.get(name) != state:
        _seen[name] = state
        _reread(archive)
