"""Real Horovod processes."""

import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import horovod.torch as hvd
import pytest
import torch
from pyspark.sql import SparkSession

from nextaisle.feed.reader import Feed, Shard
from nextaisle.model import load_model
from nextaisle.training import distributed
from nextaisle.training.epoch import prepare, run_epoch
from nextaisle.training.loop import train
from nextaisle.training.plan import Plan
from nextaisle.training.progress import Progress

MakePlan = Callable[..., Plan]
# The ranks cannot import a test.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def steps_windows_weights(plan: Plan) -> list[tuple[int, int, list[float]]]:
    """Of each rank, after an epoch."""
    distributed.start()
    torch.set_num_threads(1)
    shard = Shard(distributed.rank(), distributed.size())
    torch.manual_seed(shard.rank)
    step, feed = prepare(plan, distributed.device()), Feed(plan.train, shard)
    mine = sum(len(part.example_id_W) for part in feed.parts(1, plan.settings.seed, 1 << 20))
    with Progress("test", 1, 1, is_shown=False) as progress:
        run_epoch(1, step, feed, None, shard, progress)
    weights = [float(weight.double().abs().sum()) for weight in step.model.parameters()]
    found: list[tuple[int, int, list[float]]] = hvd.allgather_object((step.count, mine, weights))
    return found


def test_two_ranks_take_as_many_steps_and_end_with_the_same_weights(make_plan: MakePlan) -> None:
    # An odd number of windows and small batches: the ranks' own numbers of batches differ.
    plan = make_plan("transformer", rows=101, batch_positions=100, processes=2)
    first, second = distributed.launch(steps_windows_weights, plan, 2, "local")
    assert (first[1], second[1]) == (51, 50)
    assert first[0] == second[0] == 11
    assert first[2] == second[2]


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns_and_the_first_tells_how_far_they_are(
    make_plan: MakePlan, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan("lstm", predictability=0.8, batch_positions=256, max_epochs=8, processes=2)
    report = distributed.launch(train, plan, 2, "local")
    assert report.history[-1].hr_at_10 > 0.8
    assert Path(plan.folder).name == "weights"
    assert load_model(plan.folder).spec == plan.spec
    told = [line for line in capfd.readouterr().err.splitlines() if "examples/s" in line]
    assert len(told) == len(report.history)
    assert all("[0]<stderr>" in line for line in told)


@pytest.mark.slow
def test_a_rank_that_fails_fails_the_training(make_plan: MakePlan) -> None:
    with pytest.raises(RuntimeError):
        distributed.launch(fails_on_rank_1, make_plan(), 2, "local")


def fails_on_rank_1(plan: Plan) -> None:
    distributed.start()
    if distributed.rank() == 1:
        raise ValueError("rank 1 gives up")
    distributed.totals(1.0)


def cores_threads_ranks(plan: None) -> list[tuple[int, int, int]]:
    """Of each rank."""
    distributed.start()
    mine = (distributed._cores(), torch.get_num_threads(), hvd.local_size())
    found: list[tuple[int, int, int]] = hvd.allgather_object(mine)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_ranks_are_tasks_on_the_executors_and_share_the_cores_that_they_find_there(
    spark: SparkSession, processes: int
) -> None:
    found = distributed.launch(cores_threads_ranks, None, processes, "spark")
    assert [ranks for _, _, ranks in found] == [processes] * processes
    if processes > 1:
        assert [threads for _, threads, _ in found] == [max(1, cores // processes) for cores, _, _ in found]
