"""A job as a process of its own, killed at moments drawn from a seed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nextaisle import config


def start(job: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """The job in a process group of its own, so that a kill takes Spark with it."""
    home, scripts = config.home(), Path(sys.executable).parent
    places = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": f"{home}/lib:{home}",
        "NEXTAISLE_HOME": str(home),
    }
    command = [
        f"{scripts}/spark-submit", "--properties-file", f"{home}/conf/spark-defaults.conf",
        "--conf", "spark.driver.memory=1g", "--conf", "spark.ui.showConsoleProgress=false",
        f"{home}/jobs/{job}.py", *words,
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=os.environ | places, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


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
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
