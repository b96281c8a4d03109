"""Files of ../shared/data, which are not the project's own."""

import warnings
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """The file; the test is skipped, loudly, where it is not there."""
    path = SHARED / name
    if not path.exists():
        warnings.warn(f"{path} is not there: a log of another shop is not tried", stacklevel=2)
        pytest.skip(f"{path} is not there")
    return path
