"""Zips lib/nextaisle and jobs/ for Spark's drivers and executors, and prints where.

The name holds the hash of the sources: what did not change is not zipped again, and a running job never sees the zip
of later sources. The bytes are the same on every machine.
"""

import hashlib
import os
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "packages"
UNUSED_SECONDS = 30 * 24 * 3600  # longer than any job runs


def sources() -> dict[str, bytes]:
    """`{"jobs/": b"", "jobs/nightly.py": b"...", "nextaisle/job.py": b"..."}`, in a fixed order."""
    # A folder without __init__.py is a package in a zip only where the zip names the folder.
    found = {"jobs/": b""}
    for base, folder in ((ROOT / "lib", "nextaisle"), (ROOT, "jobs")):
        for path in (base / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(base).as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))


def write_zip(contents: dict[str, bytes], target: Path) -> None:
    """Under another name first: a start at the same moment finds all of it or nothing."""
    part = target.with_suffix(f".{os.getpid()}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)  # of a fixed date, 1980-01-01
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    part.replace(target)


def main() -> None:
    contents = sources()
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    target = FOLDER / f"nextaisle-{digest.hexdigest()[:12]}.zip"
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not target.is_file():
        write_zip(contents, target)
    os.utime(target)
    for other in FOLDER.iterdir():
        if time.time() - other.stat().st_mtime > UNUSED_SECONDS:
            other.unlink(missing_ok=True)
    os.write(1, f"{target}\n".encode())


if __name__ == "__main__":
    main()
