"""What exact top-K costs beside the bare matrix product, and beside NumPy

Run it with: PYTHONPATH=lib:. .venv/bin/python tests/benchmarks/bench_topk.py
Prints one line per way of doing it, in millions of scores per second and as a share of the bare product. All of them on
one thread, in turns, by the best of several rounds of the process's own time, since machines are shared.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from nextaisle.scoring.topk import top_k

USERS, ITEMS, WIDTH, K, SEEN, ROUNDS = 1024, 100_000, 64, 20, 300, 6


def main() -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    state = torch.from_numpy(random.standard_normal((USERS, WIDTH), dtype=np.float32))
    vector = torch.from_numpy(random.standard_normal((ITEMS, WIDTH), dtype=np.float32))
    tie = random.permutation(ITEMS)
    seen = [random.integers(1, ITEMS, SEEN) for _ in range(USERS)]
    ways: dict[str, Callable[[], object]] = {
        "bare product, blocks of 128 x 4,096": lambda: bare_product(state, vector),
        "top_k": lambda: top_k(state, vector, K, None, tie),
        f"top_k, {SEEN} items excluded per user": lambda: top_k(state, vector, K, seen, tie),
        "NumPy argpartition, 256 users at once": lambda: argpartition(state.numpy(), vector.numpy()),
        "torch.topk, 256 users at once": lambda: [(part @ vector.T).topk(K) for part in state.split(256)],
    }
    seconds = {name: min(seconds_of(way) for _ in range(ROUNDS)) for name, way in ways.items()}
    bare = next(iter(seconds.values()))
    print(f"{USERS} users, {ITEMS:,} items, width {WIDTH}, k {K}, one thread")
    for name, taken in seconds.items():
        print(f"{name:42s} {USERS * ITEMS / taken / 1e6:6.0f} M scores/s {bare / taken:6.0%}")


def bare_product(state: torch.Tensor, vector: torch.Tensor) -> None:
    """Every product in a buffer that stays in the cache, and none of them looked at."""
    for users in state.split(128):
        scores = torch.empty(128, 4096)
        for items in vector.split(4096):
            torch.mm(users, items.T, out=scores.view(-1)[: len(users) * len(items)].view(len(users), len(items)))


def argpartition(state: np.ndarray, vector: np.ndarray) -> None:
    for start in range(0, len(state), 256):
        score = state[start : start + 256] @ vector.T
        best = np.argpartition(score, -K, axis=1)[:, -K:]
        np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, axis=1), axis=1), axis=1)


def seconds_of(way: Callable[[], object]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


if __name__ == "__main__":
    main()
