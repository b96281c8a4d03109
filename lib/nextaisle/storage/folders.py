"""A table's folder as tasks of Python reach it: on this machine, or elsewhere, on a mount or what pyarrow opens.

Elsewhere each look at a file takes its time, and hundreds that are open for writing take memory: so new ones wait on a
disk of Spark's until they are whole, and what is read of others is kept there.
"""

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

from nextaisle.contract.errors import ConfigurationError, InputError, SchemaError

_COPIED_BYTES: Final = 8 << 20
# Where a file needs none, pyarrow would leave an empty object for each.
_WITHOUT_FOLDERS: Final = ("s3", "gcs")


@dataclass(frozen=True)
class Folder:
    """`name` is Spark's, a URI; `root` is the path of the same folder in `files`. Tasks are sent it as it is."""

    name: str
    files: fs.FileSystem
    root: str
    is_here: bool = False

    @classmethod
    def local(cls, name: str) -> "Folder | None":
        """A folder on a file system of this machine, which every executor must see under this name; None elsewhere."""
        path = name.removeprefix("file:")
        return cls(f"file:{path}", fs.LocalFileSystem(use_mmap=True), path, True) if path.startswith("/") else None

    @classmethod
    def within(cls, place: str, name: str) -> "Folder":
        """That of a table under `place`, a path or a URI of pyarrow: s3://bucket/tables?region=eu-west-1.

        Raises:
            ConfigurationError: pyarrow knows no such place.
            InputError: a store does not answer.
        """
        if "#" in place:
            raise ConfigurationError(
                "store.python_root has a #, from which on pyarrow reads nothing; rename the folder"
            )
        # Hadoop's word for the protocol that pyarrow calls s3.
        uri = place.replace("s3a://", "s3://", 1) if place.startswith("s3a://") else place
        try:
            files, root = fs.FileSystem.from_uri(uri)
        except pa.ArrowException as error:
            raise ConfigurationError(f"store.python_root = {place!r} cannot be opened: {error}") from error
        except OSError as error:
            raise InputError(f"store.python_root = {place!r} does not answer: {error}") from error
        return cls(name, files, f"{root.rstrip('/')}/{name.rsplit('/', 1)[-1]}")

    def has(self, path: str, beginning: bytes) -> bool:
        """Whether there is a file that begins so.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with self.open(path) as file:
                return bool(file.read(len(beginning)) == beginning)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise InputError(f"{path} of {self.name} cannot be read by Python: {error}") from error

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
        if parts.scheme == "file" and self.is_here:
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
    def scratch(self) -> Iterator["Scratch"]:
        """Where a task's new files are written until each is put in its place."""
        if self.is_here:
            yield Scratch(Path(self.root))
            return
        with tempfile.TemporaryDirectory(prefix="nextaisle-", dir=_disk(), ignore_cleanup_errors=True) as scratch:
            yield Scratch(Path(scratch), self)


@dataclass(frozen=True)
class Scratch:
    """A task's new files: those for a folder elsewhere wait in `scratch` until they are whole."""

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


def on_disk(part: pa.Buffer) -> pa.Buffer:
    """The same bytes, mapped from a file that nobody else sees and that is gone when nobody looks at them any more."""
    with tempfile.NamedTemporaryFile(prefix="nextaisle-", dir=_disk()) as copy:
        copy.write(part)
        copy.flush()
        with pa.memory_map(copy.name) as file:
            return file.read_buffer()


def _disk() -> str:
    """One of those that Spark gives a task of Python for its own shuffles."""
    return random.choice(os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).split(","))
