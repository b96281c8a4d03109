"""The jobs that build the tables, one after the other in one process: what the tests of this folder let go wrong.

With a fault named in the environment, the kernel that cuts sessions fails in its first task as often as it says,
whatever Spark then does anew: the task alone, or, where a lost executor takes shuffled rows with it, the whole stage.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from jobs.nightly import DAYS
from nextaisle.contract.errors import StepError
from nextaisle.job import Job, Night, Result, execute, main
from nextaisle.sessions import cutting, rebuilding

# "raise 3 /some/folder": three attempts fail with an error; "kill 1 /some/folder": one kills its executor; each
# leaves a file there.
FAULT = "NEXTAISLE_TEST_FAULT"


def run(night: Night) -> Result:
    """The data jobs of a night."""
    if FAULT in os.environ:
        rebuilding.cut_sessions = _failing(*os.environ[FAULT].split())  # type: ignore[attr-defined]
    for job in DAYS:
        outcome = execute(job, night.settings, night.spark, night.first, night.last)
        if outcome.exit_code:
            raise StepError(f"{job.name}: {outcome.reason}", outcome.exit_code)
    return Result()


def _failing(way: str, times: str, folder: str) -> Callable[..., Iterator[pa.RecordBatch]]:
    def cut(
        batches: Iterable[pa.RecordBatch], gap: int, longest: int, types: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        for number, sessions in enumerate(cutting.cut_sessions(batches, gap, longest, types)):
            yield sessions  # what a lost attempt has brought must not count
            if number == 0 and context.partitionId() == 0 and (made := len(list(Path(folder).iterdir()))) < int(times):
                Path(folder, str(made)).touch()
                _fail(way)

    return cut


def _fail(way: str) -> None:
    if way == "raise":
        raise RuntimeError("a fault made by a test")
    # A Python worker's parent is the daemon that forked it, and that one's the executor.
    daemon = os.getppid()
    executor = int(Path(f"/proc/{daemon}/stat").read_text(encoding="ascii").split()[3])
    os.kill(executor, signal.SIGKILL)


if __name__ == "__main__":
    main(Job("data_chain", run, is_recorded=False))
