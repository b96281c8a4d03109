"""Every number, and the registered models. The only module that imports mlflow; off rank 0 nothing is recorded.

Training must survive a tracking server that is down. So what only records (start, log_..., finish, find, register)
warns and goes on, and takes the empty run id that `start` then returned. What others build on (champion, promote,
download, note) raises InputError.
"""

import fcntl
import functools
import json
import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nextaisle.config import Settings, absolute, local, without_secrets
from nextaisle.config import Tracking as TrackingSettings
from nextaisle.contract.errors import InputError

if TYPE_CHECKING:  # importing it takes four seconds, which only those that use it should pay
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

log = logging.getLogger(__name__)
Found = TypeVar("Found")

CHAMPION = "champion"
_SQLITE = "sqlite:///"
# The most that a server takes in one call.
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
# By default a server that is down is asked for minutes before each call gives up.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


@dataclass(frozen=True)
class ModelVersion:
    """A version of the registered model, and the run that trained it."""

    version: str
    run_id: str


class Tracker:
    """One experiment and one registered model on the server, or in the database, of the configuration.

    | method                          | off rank 0 | server down    |
    |---------------------------------|------------|----------------|
    | start                           | ""         | "" and warning |
    | log_..., finish                 | nothing    | warning        |
    | find, register                  | None, ""   | the same       |
    | champion, promote, download,    | as rank 0  | InputError     |
    | note, noted                     |            |                |
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self._settings = settings
        self._uri = _absolute_uri(settings.uri)
        self._artifacts = local(settings.artifacts)
        self._downloads: dict[tuple[str, str], Path] = {}

    def start(self, name: str, tags: Mapping[str, str]) -> str:
        """Begins a run and returns its id."""

        def create() -> str:
            run = self._client.create_run(self._experiment_id, run_name=name, tags=dict(tags))
            return str(run.info.run_id)

        return self._recorded(create, "") if _is_first_rank() else ""

    def log_settings(self, run_id: str, settings: Settings) -> None:
        """Every setting as a parameter, `sessions.gap_minutes`, and the whole as settings.json."""

        def log_all() -> None:
            from mlflow.entities import Param

            params = [Param(key, str(value)) for key, value in settings.flat().items()]
            for first in range(0, len(params), _PARAMS_PER_CALL):
                self._client.log_batch(run_id, params=params[first : first + _PARAMS_PER_CALL])

        self._log(run_id, log_all)
        self.log_json(run_id, settings.shown(), "settings.json")

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers named `<split>/<metric>_at_<k>`; an earlier value of the same name and step stays in the history."""

        def log_all() -> None:
            from mlflow.entities import Metric

            now = time.time_ns() // 1_000_000
            values = [Metric(key, float(value), now, step or 0) for key, value in metrics.items()]
            for first in range(0, len(values), _METRICS_PER_CALL):
                self._client.log_batch(run_id, metrics=values[first : first + _METRICS_PER_CALL])

        self._log(run_id, log_all)

    def log_figure(self, run_id: str, figure: "Figure", path: str) -> None:
        self._log(run_id, lambda: self._client.log_figure(run_id, figure, path))

    def log_json(self, run_id: str, content: object, path: str) -> None:
        text = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
        self.log_text(run_id, text, path)

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self._log(run_id, lambda: self._client.log_text(run_id, text, path))

    def log_folder(self, run_id: str, folder: Path | str, path: str) -> None:
        """The files in `folder` as the artifact folder `path`."""
        self._log(run_id, lambda: self._client.log_artifacts(run_id, str(folder), path))

    def finish(self, run_id: str, status: Literal["FINISHED", "FAILED"]) -> None:
        self._log(run_id, lambda: self._client.set_terminated(run_id, status))

    def find(self, tag: str, value: str) -> str | None:
        """The newest finished run with this tag."""

        def search() -> str | None:
            wanted = f"tags.`{tag}` = '{value}' AND attributes.status = 'FINISHED'"
            order = ["attributes.start_time DESC"]
            runs = self._client.search_runs([self._experiment_id], wanted, order_by=order, max_results=1)
            return str(runs[0].info.run_id) if runs else None

        return self._recorded(search, None) if _is_first_rank() else None

    def register(self, run_id: str, path: str) -> str:
        """Makes the artifact folder `path` of the run a version of the model, unless it is one; returns the version."""

        def create() -> str:
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{path}"
            self._ensure_model()
            known = self._client.search_model_versions(f"name = '{self._settings.model_name}' AND run_id = '{run_id}'")
            for version in known:
                if version.source == source:
                    return str(version.version)
            return str(self._client.create_model_version(self._settings.model_name, source, run_id).version)

        return self._recorded(create, "") if run_id and _is_first_rank() else ""

    def champion(self) -> ModelVersion | None:
        """The version with the alias champion; None where no model has it yet."""

        def look_up() -> ModelVersion | None:
            name = self._settings.model_name
            if not self._client.search_registered_models(f"name = '{name}'"):
                return None
            if CHAMPION not in self._client.get_registered_model(name).aliases:
                return None
            found = self._client.get_model_version_by_alias(name, CHAMPION)
            return ModelVersion(str(found.version), str(found.run_id))

        return self._needed(look_up, "the champion could not be looked up")

    def promote(self, version: str) -> None:
        """Gives the alias champion to this version."""
        name = self._settings.model_name

        def name_champion() -> None:
            self._client.set_registered_model_alias(name, CHAMPION, version)

        self._needed(name_champion, f"version {version} of {name} could not be made champion")

    def note(self, run_id: str, tag: str, value: str) -> None:
        """Sets a tag that others build on."""

        def set_tag() -> None:
            self._client.set_tag(run_id, tag, value)

        self._needed(set_tag, f"tag {tag} of run {run_id} could not be set")

    def noted(self, run_id: str, tag: str) -> str | None:
        """The value of a tag; None where the run has none."""

        def look_up() -> str | None:
            return self._client.get_run(run_id).data.tags.get(tag)

        return self._needed(look_up, f"tag {tag} of run {run_id} could not be looked up")

    def download(self, run_id: str, path: str) -> Path:
        """A local folder with this artifact of the run; fetched once per Tracker, gone when the process ends."""
        if (run_id, path) not in self._downloads:
            fetch = functools.partial(self._fetch, run_id, path)
            self._downloads[run_id, path] = self._needed(fetch, f"artifact {path} of run {run_id} could not be read")
        return self._downloads[run_id, path]

    def _fetch(self, run_id: str, path: str) -> Path:
        folder = tempfile.mkdtemp(prefix="nextaisle-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(self._client.download_artifacts(run_id, path, folder))

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        if self._uri.startswith(_SQLITE):
            _ensure_database(self._uri)
        return MlflowClient(self._uri, self._uri)

    @functools.cached_property
    def _experiment_id(self) -> str:
        """The experiment, made when it is first needed. A server chooses by itself where its artifacts go."""
        found = self._client.get_experiment_by_name(self._settings.experiment)
        if found is not None:
            if found.lifecycle_stage == "deleted":  # its name is taken, and nothing can be recorded under it
                log.warning("experiment %s was deleted, and is restored", self._settings.experiment)
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        location = self._artifacts.as_uri() if self._uri.startswith(_SQLITE) else None
        return str(self._client.create_experiment(self._settings.experiment, location))

    def _ensure_model(self) -> None:
        name = self._settings.model_name
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, description="Next item of a user; weights in safetensors.")

    def _log(self, run_id: str, action: Callable[[], Any]) -> None:
        if run_id and _is_first_rank():
            self._recorded(action, None)

    def _recorded(self, action: Callable[[], Found], otherwise: Found) -> Found:
        try:
            return action()
        except Exception as error:  # whatever it is, it must not end a training
            log.warning(without_secrets(f"tracking at {self._uri} failed, going on without: {error}"))
            return otherwise

    def _needed(self, action: Callable[[], Found], problem: str) -> Found:
        try:
            return action()
        except Exception as error:  # MLflow, requests, SQLAlchemy and the file system each have their own
            said = f"{problem} at {self._uri}: {error}; is [tracking] uri right and its server up?"
            raise InputError(without_secrets(said)) from error


def _absolute_uri(uri: str) -> str:
    """`sqlite:///var/mlflow.db` with the path made absolute; other URIs stay as they are."""
    return _SQLITE + absolute(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else uri


def _ensure_database(uri: str) -> None:
    """Makes it, where it is not there, whole or not at all.

    MLflow makes its tables one by one, and half of them, left by a kill, are to it a database that it cannot use.
    """
    from mlflow import MlflowClient
    from sqlalchemy.engine import make_url

    path = Path(make_url(uri).database or "")
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        # The kernel lets go of it when the process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            new.unlink(missing_ok=True)
            MlflowClient(f"{_SQLITE}{new}").search_experiments(max_results=1)
            new.replace(path)


def _is_first_rank() -> bool:
    return os.environ.get("HOROVOD_RANK", "0") == "0"
