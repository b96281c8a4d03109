"""Where tables and runs are kept, and what paths of the configuration mean."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from nextaisle.config.sections import Section

_URI = re.compile(r"[A-Za-z][\w+.-]*:/")


def _place(path: str) -> str:
    """A path, or a URI of any of Hadoop's file systems."""
    if re.match(r"file://[^/]|[A-Za-z][\w+.-]*:(?!/)", path):
        raise ValueError(f"{path!r} is no place; expected a path, or a URI like hdfs://host/logs or file:///logs")
    return path


Place = Annotated[str, AfterValidator(_place)]


class Store(Section):
    root: Annotated[Place, Field(pattern="^[^`]*$")]  # within a backtick Delta finds no table
    python_root: Place
    database: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,63})?$")]


class Tracking(Section):
    uri: str
    artifacts: Place
    experiment: str
    model_name: Annotated[str, Field(pattern=r"^[\w .-]+$")]  # MLflow's filters have no quotes within a name


def home() -> Path:
    """The folder of spark-submit.sh, where relative paths of the configuration start."""
    return Path(os.environ.get("NEXTAISLE_HOME", Path(__file__).resolve().parents[3]))


def absolute(path: str) -> str:
    """A path of the configuration, made absolute; a URI stays as it is, of file:/// one stroke, as Spark writes it."""
    if path.startswith("file:///"):
        return path.replace("///", "/", 1)
    return path if not path or path.startswith("/") or _URI.match(path) else str(home() / path)


def local(path: str) -> Path:
    """The same as a path of this machine, be it said as file:///."""
    return Path(absolute(path).removeprefix("file:"))
