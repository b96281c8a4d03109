"""How far training is, for who watches: a bar on a terminal, else a line now and then."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from nextaisle.training.plan import Epoch

log = logging.getLogger(__name__)

# Seconds between two lines where there is no terminal.
_LINE_EVERY = 30.0


class Progress:
    """Counts windows; `with Progress(...) as progress` so that the terminal is left as it was."""

    def __init__(self, name: str, epochs: int, windows: int, is_shown: bool) -> None:
        self._name, self._epochs, self._windows, self._is_shown = name, epochs, windows, is_shown
        self._epoch, self._done, self._started = 1, 0, time.monotonic()
        self._line_at = self._started + _LINE_EVERY
        self._bar: Bar | None = None
        if is_shown and sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(self._title(), total=windows, rate="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, windows: int) -> None:
        """So many windows of all ranks are done."""
        if not self._is_shown:
            return
        self._done += windows
        now = time.monotonic()
        rate = f"{self._done / max(now - self._started, 1e-9):,.0f} examples/s"
        if self._bar:
            self._bar.update(self._task, completed=self._done, rate=rate)
        elif now >= self._line_at:
            self._line_at = now + _LINE_EVERY
            log.info("%s: %d of %d windows, %s", self._title(), self._done, self._windows, rate)

    def epoch_ended(self, epoch: Epoch, is_better: bool) -> None:
        judged = ""
        if epoch.ndcg_at_10 is not None:
            best = " (best)" if is_better else ""
            judged = f", validation NDCG@10 {epoch.ndcg_at_10:.4f}, HR@10 {epoch.hr_at_10:.4f}{best}"
        rate = epoch.examples_per_second
        log.info("%s: loss %.4f%s, %.0f examples/s", self._title(), epoch.train_loss, judged, rate)
        self._epoch, self._done, self._started = epoch.epoch + 1, 0, time.monotonic()
        self._line_at = self._started + _LINE_EVERY
        if self._bar and self._epoch <= self._epochs:
            self._bar.reset(self._task, description=self._title())

    def _title(self) -> str:
        return f"{self._name}, epoch {self._epoch} of at most {self._epochs}"
