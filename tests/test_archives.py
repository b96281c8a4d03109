"""An archive on Python's path is read again where it has changed, and only there."""

import zipfile
import zipimport
from pathlib import Path

import pytest

from nextaisle import archives


def put(path: Path, *modules: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for module in modules:
            archive.writestr(f"{module}.py", "")


def test_an_archive_that_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    reread = archives._reread
    monkeypatch.setattr(archives, "_reread", lambda archive: (read.append(archive), reread(archive)))
    path = tmp_path / "modules.zip"
    put(path, "first")
    archive = zipimport.zipimporter(str(path))
    archive.invalidate_caches()
    archive.invalidate_caches()
    assert len(read) == 1
    assert archive.find_spec("second") is None

    put(path, "first", "second")
    archive.invalidate_caches()
    archive.invalidate_caches()
    assert len(read) == 2
    assert archive.find_spec("second") is not None


def test_an_archive_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "modules.zip"
    put(path, "first")
    archive = zipimport.zipimporter(str(path))
    archive.invalidate_caches()
    path.unlink()
    archive.invalidate_caches()
    assert archive.find_spec("first") is None
