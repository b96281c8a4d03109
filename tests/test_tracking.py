import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextaisle.config import Settings
from nextaisle.contract.errors import InputError
from nextaisle.tracking import ModelVersion, Tracker


def test_a_run_its_numbers_and_its_model_come_back_from_a_local_database(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "made" / "evaluated").mkdir(parents=True)
    (tmp_path / "made" / "evaluated" / "spec.json").write_text("{}")
    tracker = Tracker(settings.tracking)
    run_id = tracker.start("lstm", {"training_key": "k"})
    tracker.log_settings(run_id, settings)
    tracker.log_metrics(run_id, {"validation/ndcg_at_10": 0.5}, step=2)
    tracker.log_json(run_id, {"a": 1}, "x/y.json")
    tracker.log_folder(run_id, tmp_path / "made", "model")
    assert tracker.find("training_key", "k") is None, "the run is not finished yet"
    tracker.finish(run_id, "FINISHED")

    later = Tracker(settings.tracking)
    assert later.find("training_key", "k") == run_id
    assert later.champion() is None
    version = later.register(run_id, "model")
    assert later.register(run_id, "model") == version, "a run's model is registered once"
    later.promote(version)
    assert later.champion() == ModelVersion(version, run_id)
    assert [path.name for path in later.download(run_id, "model").rglob("*.json")] == ["spec.json"]
    assert (later.download(run_id, "x") / "y.json").read_text() == '{\n "a": 1\n}\n'
    run = later._client.get_run(run_id).data
    assert run.metrics == {"validation/ndcg_at_10": 0.5}
    assert run.params["sessions.gap_minutes"] == "30"
    assert later.noted(run_id, "judged_against") is None
    later.note(run_id, "judged_against", "other")
    assert later.noted(run_id, "judged_against") == "other"
    with pytest.raises(InputError, match="artifact nothing"):
        later.download(run_id, "nothing")


def test_a_server_that_is_down_costs_a_warning_and_what_builds_on_it_says_so(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker(settings.tracking.model_copy(update={"uri": "http://ann:hunter2@127.0.0.1:9"}))
    with caplog.at_level(logging.WARNING, "nextaisle.tracking"):
        assert tracker.start("lstm", {}) == ""
    assert "http://***@127.0.0.1:9" in caplog.text
    assert tracker.find("training_key", "k") is None
    with pytest.raises(InputError, match=r"the champion could not be looked up at http://\*\*\*@127.0.0.1:9") as caught:
        tracker.champion()
    assert "hunter2" not in caplog.text + str(caught.value)


def test_an_experiment_that_was_deleted_is_restored(settings: Settings) -> None:
    """MLflow keeps its name, and takes no run of it."""
    tracker = Tracker(settings.tracking)
    assert tracker.start("lstm", {})
    tracker._client.delete_experiment(tracker._experiment_id)
    assert Tracker(settings.tracking).start("lstm", {})


def test_a_database_is_there_whole_or_not_at_all(settings: Settings, tmp_path: Path) -> None:
    """MLflow makes its tables one by one; a night that is killed meanwhile is run again."""
    local = settings.tracking.model_copy(update={"uri": f"sqlite:///{tmp_path}/runs/mlflow.db"})
    code = (
        "import sys; from nextaisle.config import Tracking; from nextaisle.tracking import Tracker; "
        "Tracker(Tracking.model_validate_json(sys.argv[1])).start('lstm', {})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, local.model_dump_json()])
    places = tmp_path / "runs" / "mlflow.db", tmp_path / "runs" / ".mlflow.db.new"
    while not any(_is_being_made(path) for path in places):
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Tracker(local).start("lstm", {})


def _is_being_made(database: Path) -> bool:
    """Whether MLflow changes a table that it has made before."""
    return database.exists() and b"_alembic_tmp_" in database.read_bytes()


def test_nothing_is_asked_of_the_server_for_the_empty_run_or_off_the_first_rank(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(settings.tracking)
    tracker.log_metrics("", {"train/loss": 1.0})
    tracker.finish("", "FAILED")
    assert tracker.register("", "model") == ""
    monkeypatch.setenv("HOROVOD_RANK", "1")
    assert tracker.start("lstm", {}) == ""
    tracker.log_metrics("a run", {"train/loss": 1.0})
    assert tracker.find("training_key", "k") is None
    assert "_client" not in vars(tracker)
