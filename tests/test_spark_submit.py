"""The launcher and the set-up, as a shell calls them; Spark's start costs seconds, so real runs are few."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from nextaisle import config, overlays

ROOT = Path(__file__).resolve().parent.parent

PROBE = '''"""Sleeps, breaks down, or says no."""

import time
from pathlib import Path

from nextaisle.contract.errors import GateError
from nextaisle.job import Job, Night, Result, main


def run(night: Night) -> Result:
    if night.settings.scoring.k == 99:
        Path("started").touch()
        time.sleep(600)
    raise GateError("the probe says no")


if __name__ == "__main__":
    main(Job(name="probe", run=run))
'''


def call(folder: Path, *words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd or folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The launcher with jobs of its own; the environment is the one that runs this, so its set-up has nothing to do."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(ROOT / "spark-submit.sh", folder)
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf" / "setup.sh").write_text("#!/bin/sh\n")
    for shared in (".venv", "lib"):
        (folder / shared).symlink_to(ROOT / shared)
    (folder / "jobs").mkdir()
    (folder / "jobs" / "probe.py").write_text(PROBE)
    (folder / "jobs" / "broken.py").write_text('"""Does not even import."""\n\nimport no_such_module\n')
    return folder


def test_help_lists_every_job_with_its_first_line() -> None:
    shown = call(ROOT, "./spark-submit.sh", "--help")
    assert shown.returncode == 0
    for job in (ROOT / "jobs").glob("*.py"):
        first_line = job.read_text().splitlines()[0].strip('"')
        assert any(line.split() == [job.stem, *first_line.split()] for line in shown.stdout.splitlines()), job.stem
    assert call(ROOT, "./spark-submit.sh").stdout == shown.stdout


def test_a_jobs_help_is_its_own() -> None:
    shown = call(ROOT, "./spark-submit.sh", "nightly", "--conf", "conf/local.toml", "--help")
    assert shown.returncode == 0
    assert "Without --date: everything in the logs that no finished night has built" in shown.stdout
    assert "--plan" in shown.stdout


@pytest.mark.parametrize("job", ["no_such_job", "../conf/package", "nightly.py"])
def test_an_unknown_job_is_a_wrong_call_that_lists_the_jobs(job: str) -> None:
    refused = call(ROOT, "./spark-submit.sh", job)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"there is no job {job}" in refused.stderr
    assert "nightly" in refused.stderr


def test_an_unknown_setting_ends_with_2_and_one_line_of_json(tmp_path: Path) -> None:
    overlay = tmp_path / "shop.toml"
    overlay.write_text("[sessions]\ngap_minuets = 20\n")
    refused = call(ROOT, str(ROOT / "spark-submit.sh"), "nightly", "--conf", "shop.toml", cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    outcome = json.loads(refused.stdout)
    assert (outcome["job"], outcome["outcome"], outcome["exit_code"]) == ("nightly", "failed", 2)
    for text in (outcome["reason"], refused.stderr):
        assert f"{overlay}: unknown key sessions.gap_minuets; the nearest known key is sessions.gap_minutes" in text


@pytest.mark.slow
def test_a_job_that_says_no_keeps_its_exit_code_and_leaves_its_outcome_at_the_uri(clone: Path, tmp_path: Path) -> None:
    target = tmp_path / "outcome.json"
    refused = call(
        clone, "./spark-submit.sh", "probe", "--set", f"store.root={tmp_path}/tables", "--outcome", f"file://{target}",
        "--", "--driver-memory", "1g",
    )  # fmt: skip
    assert refused.returncode == 4, refused.stderr
    assert json.loads(refused.stdout)["reason"] == "the probe says no"  # one line, the outcome alone
    assert target.read_text() == refused.stdout
    foreign = [line for line in refused.stderr.splitlines() if "nextaisle" not in line]
    assert not [line for line in foreign if " INFO " in line]
    assert sorted(path.name for path in clone.iterdir()) == [".venv", "conf", "jobs", "lib", "spark-submit.sh", "var"]


def read_back(uri: str) -> subprocess.CompletedProcess[str]:
    script = f"set -euo pipefail; job=probe code=0; source conf/launch.sh; exit_as_outcome {uri}"
    spark = f"{ROOT}/.venv/lib/python3.11/site-packages/pyspark"
    return call(ROOT, "bash", "-c", script, SPARK_HOME=spark, NEXTAISLE_HOME=str(ROOT))


def test_what_a_clusters_driver_left_becomes_the_output_and_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text('{"job": "probe", "exit_code": 4, "first": null}\n')
    back = read_back(f"file://{tmp_path}/outcome.json")
    assert (back.returncode, json.loads(back.stdout)["job"]) == (4, "probe"), back.stderr
    missing = read_back(f"file://{tmp_path}/missing.json")
    assert (missing.returncode, missing.stdout) == (10, "")
    assert "left no outcome" in missing.stderr


def test_a_job_that_does_not_import_ends_with_10(clone: Path) -> None:
    broken = call(clone, "./spark-submit.sh", "broken")
    assert (broken.returncode, broken.stdout) == (10, "")
    assert "no_such_module" in broken.stderr


def test_ending_the_launcher_ends_all_that_it_started(clone: Path, tmp_path: Path) -> None:
    words = ["./spark-submit.sh", "probe", "--set", "scoring.k=99", "--set", f"store.root={tmp_path}/tables"]
    with subprocess.Popen(words, cwd=clone, stderr=subprocess.DEVNULL) as launcher:
        while launcher.poll() is None and not (clone / "started").exists():
            time.sleep(0.1)
        started = psutil.Process(launcher.pid).children(recursive=True)
        names = {process.name().rstrip("0123456789.") for process in started}
        launcher.terminate()
        assert launcher.wait(timeout=30) == 143
    assert {"java", "python"} <= names
    assert [process.name() for process in started if process.is_running()] == []


def dry_run(*words: str) -> list[str]:
    shown = call(ROOT, "./spark-submit.sh", *words)
    assert shown.returncode == 0, shown.stderr
    return shlex.split(shown.stdout)


def value(command: list[str], option: str) -> str:
    """The last value of an option counts, as it does for Spark."""
    return command[len(command) - command[::-1].index(option)]


def test_on_a_laptop_sparks_command_names_our_properties_and_the_laptops_overlay() -> None:
    command = dry_run("nightly", "--date", "2017-12-31", "--dry-run")
    assert value(command, "--properties-file") == f"{ROOT}/conf/spark-defaults.conf"
    job = command.index(f"{ROOT}/jobs/nightly.py")
    assert command[job + 1 : -2] == ["--date", "2017-12-31", "--conf", f"{ROOT}/conf/local.toml"]
    assert "--files" not in command


CLUSTER = "-- --deploy-mode cluster --properties-file conf/spark-defaults-cluster.conf"


@pytest.mark.parametrize(
    ("master", "outcome"),
    [("yarn", "hdfs:///tmp/outcome.json"), ("k8s://https://kubernetes.internal:6443", "s3a://bucket/outcome.json")],
)
def test_on_a_cluster_the_configuration_travels_and_the_outcome_comes_back(master: str, outcome: str) -> None:
    words = f"nightly --dry-run --conf conf/cluster.toml --conf=conf/local.toml --outcome {outcome} {CLUSTER}"
    command = dry_run(*words.split(), "--master", master)
    files = [f"{ROOT}/conf/{name}.toml" for name in ("base", "cluster", "local")]
    assert value(command, "--files") == ",".join(files)
    assert (value(command, "--master"), value(command, "--deploy-mode")) == (master, "cluster")
    assert value(command, "--properties-file") == "conf/spark-defaults-cluster.conf"
    assert value(command, "--outcome") == outcome
    assert command.index(f"{ROOT}/jobs/nightly.py") < command.index("--outcome")


def test_cluster_mode_without_a_place_for_the_outcome_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "yarn.conf").write_text("spark.submit.deployMode  cluster\n")
    for options in (["--deploy-mode", "cluster"], ["--properties-file", f"{tmp_path}/yarn.conf"]):
        refused = call(ROOT, "./spark-submit.sh", "nightly", "--dry-run", "--", "--master", "yarn", *options)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--outcome" in refused.stderr


def test_a_clusters_driver_finds_the_shipped_configuration_in_its_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base", "cluster"):
        shutil.copy(ROOT / "conf" / f"{name}.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTAISLE_HOME", "/nowhere")
    settings = overlays.load(["/nowhere/conf/cluster.toml"])
    assert (settings.training.launcher, config.absolute(settings.store.root)) == ("spark", "hdfs:///nextaisle/tables")


def package(folder: Path) -> Path:
    return Path(call(folder, sys.executable, "-IS", "conf/package.py").stdout.strip())


def test_the_zip_holds_the_package_and_the_jobs_and_is_made_anew_only_for_new_sources(clone: Path) -> None:
    first = package(clone)
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
    assert {"nextaisle/__init__.py", "nextaisle/contract/tables.py", "jobs/probe.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    imported = call(
        clone.parent, sys.executable, "-c", "from jobs import probe; print(probe.__file__)", PYTHONPATH=str(first)
    )
    assert imported.stdout.strip() == f"{first}/jobs/probe.py", imported.stderr
    made, content = first.stat().st_ino, first.read_bytes()
    assert package(clone).stat().st_ino == made
    (clone / "jobs" / "probe.py").write_text(PROBE + "# changed\n")
    assert package(clone) != first
    assert first.is_file()  # a job that runs still reads it
    (clone / "jobs" / "probe.py").write_text(PROBE)
    first.unlink()
    assert package(clone).read_bytes() == content


def test_a_set_up_of_what_is_set_up_calls_nothing_that_could_take_long_and_is_silent() -> None:
    again = call(ROOT, "conf/setup.sh", PATH="/nowhere:/usr/bin:/bin")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_machine_that_lacks_something_is_told_all_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "sed", "awk", "df", "head", "uname", "sha256sum", "cat"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    bare = {"PATH": str(tmp_path / "bin"), "JAVA_HOME": "", "NEXTAISLE_CACHE": str(tmp_path / "cache")}
    refused = call(tmp_path, "bash", "conf/setup.sh", **bare)
    assert (refused.returncode, refused.stdout) == (2, "")
    for missing in ("no Python 3.11", "Java 17 or 21 is needed, found none", "no g++", "no flock"):
        assert [line for line in refused.stderr.splitlines() if missing in line and "install" in line], missing
    assert not (tmp_path / ".venv").exists()
