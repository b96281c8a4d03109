"""Reads the examples of one rank from the active files of a pinned version. The only module that knows Petastorm.

A folder of a table also holds files that were removed, and a crafted `_common_metadata` in it would run code; so the
files are named one by one, as Delta lists them.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextaisle.contract.errors import InputError
from nextaisle.feed.windows import Windows, join, pack

_COLUMNS = ("example_id", "length", "item_indices", "event_type_indices", "is_session_end", "target_indices")
# Row groups that wait decoded: enough to be ahead of a training step.
_WAITING_ROW_GROUPS = 4
# With more, Petastorm passes over a thread that has nothing to do yet, and the order is no longer the seed's alone.
_READING_THREADS = 1
# With fewer files than this per rank, row groups would be dealt too unevenly: rows are dealt instead.
_FILES_PER_RANK = 8
# Windows that a rank keeps in memory, in bytes; a rank with more reads its files anew in each epoch.
KEPT_BYTES = 4 << 30
# Bytes per input of a window in memory: item and target 4 each, event type and session end 1 each.
_BYTES_PER_INPUT = 10


@dataclass(frozen=True)
class Files:
    """The files of one split, the rows in them, and the inputs a row may have."""

    urls: tuple[str, ...]
    row_count: int
    length: int


@dataclass(frozen=True)
class Shard:
    """Which of the ranks this is, of how many."""

    rank: int
    count: int


class Feed:
    """The windows of one rank, epoch by epoch: read once and kept where they fit in memory, else read in each epoch."""

    def __init__(self, files: Files, shard: Shard, kept_bytes: int = KEPT_BYTES) -> None:
        self._files, self._shard = files, shard
        self.is_kept = files.row_count * files.length * _BYTES_PER_INPUT <= kept_bytes * shard.count
        self._kept: Windows | None = None

    def parts(self, epoch: int, seed: int, part_inputs: int) -> Iterator[Windows]:
        """All windows of this rank once. Kept ones come in one piece; read ones in pieces of `part_inputs` inputs."""
        if not self.is_kept:
            yield from _parts(read_windows(self._files, self._shard, seed + epoch), part_inputs)
            return
        if self._kept is None:
            self._kept = join(list(read_windows(self._files, self._shard, seed)))
        yield self._kept


def read_windows(files: Files, shard: Shard, seed: int) -> Iterator[Windows]:
    """A rank's windows, a row group at a time, in an order that `seed` alone decides.

    Ranks share out row groups, or, where there are few files, the rows. All ranks must give the same seed.
    """
    if not files.urls:
        return
    is_dealt_by_row = len(files.urls) < _FILES_PER_RANK * shard.count
    # Petastorm takes 0 for no seed.
    place, seed = 0, 1 + seed % (1 << 31)
    for rows in _row_groups(files.urls, Shard(0, 1) if is_dealt_by_row else shard, seed):
        windows = pack(*(getattr(rows, name) for name in _COLUMNS))
        if is_dealt_by_row:
            mine = (np.arange(len(windows.example_id_W)) + place) % shard.count == shard.rank
            place += len(mine)
            windows = windows if shard.count == 1 else windows.take(np.flatnonzero(mine))
        yield windows
    if is_dealt_by_row and place != files.row_count:
        raise InputError(f"{len(files.urls)} files of examples hold {place} rows, expected {files.row_count}")


def _row_groups(urls: Sequence[str], shard: Shard, seed: int) -> Iterator[Any]:
    from petastorm import make_batch_reader

    logging.getLogger("petastorm").setLevel(logging.WARNING)
    dealing = {} if shard.count == 1 else {"cur_shard": shard.rank, "shard_count": shard.count}
    # It advises its own store format, and its threads use what pyarrow has deprecated.
    warnings.filterwarnings("ignore", module="petastorm")
    reader = make_batch_reader(
        list(urls), schema_fields=[f"^{name}$" for name in _COLUMNS], reader_pool_type="thread",
        workers_count=_READING_THREADS, results_queue_size=_WAITING_ROW_GROUPS, num_epochs=1,
        shuffle_row_groups=True, seed=seed, **dealing,
    )  # fmt: skip
    # There is no cache, and it says so on standard output, where ours ends with a job's outcome.
    reader.cleanup_cache = lambda: None
    # A reader left open keeps its threads, and the process, alive.
    with reader:
        yield from _until_complete(reader)


def _until_complete(reader: Any) -> Iterator[Any]:
    """What a Petastorm reader gives, to its true end.

    It may say that it has ended between the moment its workers have nothing to do and the moment the last work is
    dealt out. Only an end reached after all was dealt out is one.
    """
    while True:
        is_dealt_out = reader.ventilator.completed()
        try:
            yield next(reader)
        except StopIteration:
            if is_dealt_out:
                return


def _parts(pieces: Iterator[Windows], part_inputs: int) -> Iterator[Windows]:
    """Row groups put together until they hold `part_inputs` inputs."""
    waiting: list[Windows] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(len(windows.item_E) for windows in waiting) >= part_inputs:
            yield join(waiting)
            waiting = []
    if waiting:
        yield join(waiting)
