"""Several processes that train as one. The only module that knows Horovod.

One process on this machine needs no launcher: every function below then does the obvious.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn

from nextaisle.call import start_logging

log = logging.getLogger(__name__)

Plan = TypeVar("Plan")
Report = TypeVar("Report")

# A rank that hears nothing of another for so long says so, and then ends, rather than waiting for ever.
_STALL = {"HOROVOD_STALL_CHECK_TIME_SECONDS": "60", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "300"}
# glibc gives each large tensor back to the kernel, and takes it again at the next step, page by page: without these a
# step on two cores spends a tenth of its time on page faults.
_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def launch(train: Callable[[Plan], Report], plan: Plan, processes: int, launcher: Literal["local", "spark"]) -> Report:
    """Runs `train(plan)` in each process and returns what rank 0 returned. `train` and `plan` must survive a pickle."""
    for name, value in _STALL.items():
        os.environ.setdefault(name, value)
    if launcher == "spark":
        return _launch_on_executors(train, plan, processes)
    return train(plan) if processes == 1 else _launch_locally(train, plan, processes)


def _launch_on_executors(train: Callable[[Plan], Report], plan: Plan, processes: int) -> Report:
    import horovod.spark

    reports = horovod.spark.run(train, args=(plan,), num_proc=processes, env=_environment(), verbose=1)
    return cast(Report, reports[0])


def _launch_locally(train: Callable[[Plan], Report], plan: Plan, processes: int) -> Report:
    import horovod

    cores = _cores()
    if processes > cores and not torch.cuda.is_available():
        log.warning("training.processes is %s, but there are %s cores: the ranks wait for each other", processes, cores)
    before = dict(os.environ)
    # NumPy's threads too; PyTorch's are set by `start`.
    threads = str(max(1, cores // processes))
    os.environ.update({**_environment(), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads})
    try:
        hosts = f"localhost:{processes}"
        reports = horovod.run(_as_a_process, args=(train, plan), num_proc=processes, hosts=hosts, use_gloo=True)
    finally:
        os.environ.clear()
        os.environ.update(before)
    first: Report = reports[0]
    return first


def _as_a_process(train: Callable[[Plan], Report], plan: Plan) -> Report:
    """A rank is a process of its own, which says nothing of its progress until logging is set up in it."""
    start_logging()
    return train(plan)


def _environment() -> dict[str, str]:
    """What the ranks must find: our package, and memory that they keep."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, **_MALLOC}


def _cores() -> int:
    """Of this machine, or this container."""
    usable = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return min(usable, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": nothing is limited
        return usable


def start() -> None:
    """Joins the other ranks, and takes its share of the machine's cores; safe to call again."""
    import horovod.torch as hvd

    if not hvd.is_initialized():
        hvd.init()
    if hvd.size() > 1:
        # Here, and not where the ranks are launched: an executor's cores are not the driver's.
        torch.set_num_threads(max(1, _cores() // hvd.local_size()))


def stop() -> None:
    """Leaves them, so that no background thread outlives the training."""
    import horovod.torch as hvd

    hvd.shutdown()


def rank() -> int:
    import horovod.torch as hvd

    return int(hvd.rank())


def size() -> int:
    import horovod.torch as hvd

    return int(hvd.size())


def device() -> torch.device:
    """This rank's accelerator, where there is one."""
    import horovod.torch as hvd

    return torch.device("cuda", hvd.local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def totals(*values: float) -> list[float]:
    """The sum of each value over all ranks, the same on every rank."""
    import horovod.torch as hvd

    if hvd.size() == 1:
        return list(values)
    summed: list[float] = hvd.allreduce(torch.tensor(values, dtype=torch.float64), op=hvd.Sum, name="totals").tolist()
    return summed


def together(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Every rank starts from rank 0's weights; from then on gradients are summed over the ranks."""
    import horovod.torch as hvd

    if hvd.size() == 1:
        return optimizer
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    summing: torch.optim.Optimizer = hvd.DistributedOptimizer(
        optimizer, named_parameters=model.named_parameters(), op=hvd.Sum
    )
    return summing


def apply_gradients(model: nn.Module, optimizer: Any, clip_norm: float) -> None:  # noqa: ANN401
    """One step of the optimizer on the summed gradient, cut to `clip_norm` (0: as it is)."""
    is_alone = not hasattr(optimizer, "synchronize")
    if not is_alone:
        optimizer.synchronize()
    if clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    if is_alone:
        optimizer.step()
    else:
        with optimizer.skip_synchronize():
            optimizer.step()
    optimizer.zero_grad()
