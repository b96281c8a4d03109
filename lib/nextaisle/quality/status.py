"""What ./spark-submit.sh status shows: the tables, and what a night would do now."""

from collections.abc import Iterable, Sequence
from datetime import date

from rich.console import Console
from rich.table import Table as Grid

from nextaisle.job import Result
from nextaisle.quality.plan import RUNS, Step
from nextaisle.quality.states import TableState

_WIDTH = 160


def show_status(
    states: Sequence[TableState], complete: Sequence[date], steps: Sequence[Step], problem: str = ""
) -> Result:
    """Prints to standard error, where logs go too: standard output has one line, the outcome.

    `problem` is why no night could begin.
    """
    console = Console(stderr=True, width=None if Console(stderr=True).is_terminal else _WIDTH)
    console.print(_tables(states))
    console.print(f"Complete days: {_told(complete) or 'none'}")
    if problem:
        console.print(f"nightly would not begin: {problem}")
    else:
        console.print(_steps(steps))
    return Result(counts(states, complete, steps))


def counts(states: Sequence[TableState], complete: Sequence[date], steps: Sequence[Step]) -> dict[str, int]:
    return {
        "tables": len(states),
        "tables_to_build": sum(not state.is_up_to_date for state in states),
        "missing_days": len(frozenset[date]().union(*(state.missing for state in states))),
        "stale_days": len(frozenset[date]().union(*(state.stale for state in states))),
        "complete_days": len(complete),
        "steps_to_run": sum(step.action == RUNS for step in steps),
    }


def _tables(states: Sequence[TableState]) -> Grid:
    grid = _grid("Tables", "table", "rows", "days", "missing", "stale", "changed since", "last run")
    for state in states:
        # A table without days is built, missing or stale as a whole.
        whole = "" if state.is_up_to_date or state.table.day else "all"
        missing, stale = _told(state.missing), _told(state.stale)
        grid.add_row(
            state.table.name, f"{state.row_count:,}", _told(state.days), missing or ("" if state.row_count else whole),
            stale or (whole if state.row_count else ""), ", ".join(state.changed), _last_run(state),
        )  # fmt: skip
    return grid


def _last_run(state: TableState) -> str:
    run = state.last_run
    if run is None:
        return "never"
    reason = f": {run['reason'].splitlines()[0]}" if run["reason"] else ""
    return f"{run['started_time']:%Y-%m-%d %H:%M} UTC {run['outcome']}{reason}"


def _steps(steps: Sequence[Step]) -> Grid:
    grid = _grid("What nightly would do now", "job", "days", "action", "why")
    for step in steps:
        days = " to ".join(str(day) for day in sorted({step.first, step.last} - {None}, key=str))
        grid.add_row(step.job, days or "all", step.action, step.reason)
    return grid


def _told(days: Iterable[date]) -> str:
    """`3: 2017-12-29 to 2017-12-31`, or the day alone."""
    known = sorted(days)
    if len(known) < 2:
        return str(known[0]) if known else ""
    return f"{len(known)}: {known[0]} to {known[-1]}"


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid
