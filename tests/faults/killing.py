"""A job as a process of its own, killed at moments drawn from a seed, or when something is seen to have happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nextaisle import config


def start(
    job: str, words: Sequence[str], confs: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """The job in a process group of its own, so that a kill takes Spark with it. `confs` are Spark's, as key=value.

    `job` is one of jobs/, or a file of the tests as tests/faults/data_chain.
    """
    home, scripts = config.home(), Path(sys.executable).parent
    places = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": f"{home}/lib:{home}",
        "NEXTAISLE_HOME": str(home),
    }
    command = [f"{scripts}/spark-submit", "--properties-file", f"{home}/conf/spark-defaults.conf"]
    for conf in ("spark.driver.memory=1g", "spark.ui.showConsoleProgress=false", *confs):
        command += ["--conf", conf]
    file = home / f"{job}.py" if "/" in job else home / "jobs" / f"{job}.py"
    return subprocess.Popen(
        [*command, str(file), *words], env=os.environ | places | dict(environment or {}), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def seconds_of(job: str, words: Sequence[str]) -> float:
    """How long the job takes when nobody kills it."""
    began = time.monotonic()
    code = start(job, words).wait(900)
    if code != 0:
        raise RuntimeError(f"{job} ended with {code}")
    return time.monotonic() - began


def kill_midway(job: str, words: Sequence[str], seconds: float, moments: random.Random) -> None:
    """kill -9 at some moment of a run that takes `seconds`; before a third of it Java and Spark have not begun."""
    process = start(job, words)
    time.sleep(seconds * moments.uniform(0.3, 1.0))
    _kill(process)


def kill_when(job: str, words: Sequence[str], has_happened: Callable[[], bool]) -> None:
    """kill -9 within milliseconds after `has_happened` is true.

    Raises:
        RuntimeError: the job ended before.
    """
    process = start(job, words)
    while not has_happened():
        if process.poll() is not None:
            raise RuntimeError(f"{job} ended with {process.returncode} before it could be killed")
        time.sleep(0.001)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
