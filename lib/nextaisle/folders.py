"""A table's folder as tasks of Python reach it: on this machine, be it mounted, or on a store that pyarrow opens."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from nextaisle.contract.errors import ConfigurationError, SchemaError

_COPIED_BYTES: Final = 8 << 20
# Where a file needs none, pyarrow would leave an empty object for each.
_WITHOUT_FOLDERS: Final = ("s3", "gcs")


@dataclass(frozen=True)
class Folder:
    """`name` is Spark's, a URI; `root` is the path of the same folder in `files`. Tasks are sent it as it is."""

    name: str
    files: fs.FileSystem
    root: str

    @classmethod
    def local(cls, name: str) -> "Folder | None":
        """A folder on a file system of this machine, which every executor must see under this name; None elsewhere."""
        path = name.removeprefix("file:")
        return cls(f"file:{path}", fs.LocalFileSystem(use_mmap=True), path) if path.startswith("/") else None

    @classmethod
    def within(cls, place: str, name: str) -> "Folder":
        """That of a table under `place`, a path or a URI of pyarrow: s3://bucket/tables?region=eu-west-1.

        Raises:
            ConfigurationError: pyarrow knows no such place.
        """
        # Hadoop's word for the protocol that pyarrow calls s3.
        uri = place.replace("s3a://", "s3://", 1) if place.startswith("s3a://") else place
        try:
            files, root = fs.FileSystem.from_uri(uri)
        except (pa.ArrowException, OSError) as error:
            raise ConfigurationError(f"store.python_root = {place!r} cannot be opened: {error}") from error
        if isinstance(files, fs.LocalFileSystem):
            files = fs.LocalFileSystem(use_mmap=True)
        return cls(name, files, f"{root.rstrip('/')}/{name.rsplit('/', 1)[-1]}")

    def has(self, path: str) -> bool:
        return bool(self.files.get_file_info(self._place(path)).type == fs.FileType.File)

    def path_of(self, url: str) -> str:
        """Of a file, whose name in Delta's log is a URL in the folder or, as in a shallow clone, a whole one.

        Raises:
            SchemaError: the file lies on another file system.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        if not parts.scheme:
            return path
        whole = f"{parts.scheme}:{'//' + parts.netloc if parts.netloc else ''}{path}"
        if whole.startswith(f"{self.name}/"):
            return whole.removeprefix(f"{self.name}/")
        if parts.scheme == "file" and self.name.startswith("file:"):
            return path
        raise SchemaError(f"{url} belongs to the table in {self.name}, but lies elsewhere: copy it there")

    def open(self, path: str) -> pa.NativeFile:
        """For reading; on this machine it is mapped, not read.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self.files.open_input_file(self._place(path))

    def write(self, path: str) -> pa.NativeFile:
        """For writing from its beginning to its end; there once it is closed."""
        place = self._place(path)
        if self.files.type_name not in _WITHOUT_FOLDERS:
            self.files.create_dir(place.rsplit("/", 1)[0])
        return self.files.open_output_stream(place, compression=None)

    def remove(self, path: str) -> None:
        """Nothing happens where it is not there."""
        with suppress(FileNotFoundError):
            self.files.delete_file(self._place(path))

    def _place(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.root}/{path}"

    @contextmanager
    def staging(self) -> Iterator["Staging"]:
        """Where a task's new files are written until each is put in its place."""
        if isinstance(self.files, fs.LocalFileSystem):
            yield Staging(Path(self.root))
            return
        # The disks that Spark gives a task of Python for its own shuffles.
        disks = os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).split(",")
        with tempfile.TemporaryDirectory(prefix="nextaisle-", dir=random.choice(disks)) as scratch:
            yield Staging(Path(scratch), self)


@dataclass(frozen=True)
class Staging:
    """New files: those for a folder that is not on this machine wait on a disk until they are whole.

    A task has hundreds open at once, and of each the client of an object store would hold some megabytes in memory.
    """

    scratch: Path
    target: Folder | None = None

    def create(self, path: str) -> pa.NativeFile:
        place = self.scratch / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return pa.OSFile(str(place), "wb")

    def put(self, path: str) -> int:
        """Brings a file that is closed to its place, and gives its size."""
        place = self.scratch / path
        size = place.stat().st_size
        if self.target:
            with place.open("rb") as whole, self.target.write(path) as sink:
                shutil.copyfileobj(whole, sink, _COPIED_BYTES)
            place.unlink()
        return size
