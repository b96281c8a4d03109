"""From conf/base.toml, overlays and --set to the configuration.

base.toml <- overlays in order <- --set section.key=value; the last word counts.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nextaisle.config import Settings, Tree, home, leaves, shown_setting, without_secrets
from nextaisle.contract.errors import ConfigurationError


def load(overlays: Sequence[Path | str] = (), assignments: Sequence[str] = ()) -> Settings:
    """Reads conf/base.toml, then the overlays, then `section.key=value` assignments.

    Raises:
        ConfigurationError: names the key, the file it stands in, and the nearest known key.
    """
    tree: Tree = {}
    origin: dict[str, str] = {}
    for path in (_base_file(), *(_find(Path(overlay)) for overlay in overlays)):
        _merge(tree, _read(path), origin, str(path))
    for assignment in assignments:
        _merge(tree, _parse_assignment(assignment), origin, f"--set {assignment.partition('=')[0]}")
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, origin, _known_keys())) from None


def _base_file() -> Path:
    return _find(home() / "conf" / "base.toml")


def _find(path: Path) -> Path:
    """The file itself, or its copy in the working folder, where a cluster's driver finds shipped files."""
    for candidate in (path, Path(path.name)):
        if candidate.is_file():
            return candidate
    raise ConfigurationError(f"configuration file {path} is not there; say --conf with the path of a TOML file")


def _read(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no valid TOML: {error}") from error


def _parse_assignment(assignment: str) -> Tree:
    key, sign, text = assignment.partition("=")
    if not sign or "." not in key:
        raise ConfigurationError(
            f"--set {without_secrets(key)}: expected section.key=value, as sessions.gap_minutes=20"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def _merge(tree: Tree, overlay: Tree, origin: dict[str, str], file: str, prefix: str = "") -> None:
    for key, value in overlay.items():
        name = f"{prefix}{key}"
        origin[name] = file
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value, origin, file, f"{name}.")
        elif isinstance(value, dict):
            tree[key] = {}
            _merge(tree[key], value, origin, file, f"{name}.")
        else:
            tree[key] = value


def _known_keys() -> list[str]:
    base = _read(_base_file())
    return [*base, *(key for key, _ in leaves(base))]


def _explain(error: ValidationError, origin: dict[str, str], known: list[str]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
        where = next((origin[name] for name in _ancestors(key) if name in origin), "conf/base.toml") if key else ""
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            lines.append(f"{where}: unknown key {key}; the nearest known key is {near[0] if near else 'none'}")
        elif isinstance(problem["input"], dict):  # a whole section: what is wrong with it names what was found
            lines.append(": ".join(filter(None, [where, key, problem["msg"]])))
        else:
            lines.append(f"{where}: {key}: {problem['msg']}; found {shown_setting(problem['input'], key)!r}")
    return without_secrets("\n".join(lines))


def _ancestors(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
