"""How a job is called: its words, its log on standard error, and where its outcome goes."""

import argparse
import logging
import os
import sys
from datetime import date
from pathlib import Path

from nextaisle.config import without_secrets
from nextaisle.contract.errors import ConfigurationError
from nextaisle.spark import create_session, write_text

log = logging.getLogger("nextaisle")


class Discreet(logging.Formatter):
    """Shows no secret, whatever a message or a traceback repeats."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def start_logging() -> None:
    """To standard error, on the terminal where there is one."""
    if "NEXTAISLE_TERMINAL" in os.environ:  # spark-submit's driver has but a pipe, which shows no progress bar
        os.dup2(os.open(os.environ["NEXTAISLE_TERMINAL"], os.O_WRONLY | os.O_NOCTTY), sys.stderr.fileno())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("py4j", "alembic", "mlflow.store.db", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Py4J tells the root logger, with a traceback, of each idle connection that it opens again.
    logging.getLogger().addFilter(lambda record: record.msg != "Exception while sending command.")


def parser(name: str, has_plan: bool) -> argparse.ArgumentParser:
    description = sys.modules["__main__"].__doc__ or ""
    words = argparse.ArgumentParser(
        prog=f"./spark-submit.sh {name}",
        description=description,
        epilog="Options of Spark's own come last, after --; ./spark-submit.sh --help lists all jobs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--conf", action="append", default=[], metavar="FILE", help="an overlay over conf/base.toml")
    words.add_argument("--date", metavar="DAY", help="the day of the logs, as 2017-12-31")
    words.add_argument("--from", dest="first", metavar="DAY", help="the first of several days, built in one pass")
    words.add_argument("--to", dest="last", metavar="DAY", help="the last of several days")
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as sessions.gap_minutes=20")
    if has_plan:
        words.add_argument("--plan", action="store_true", help="only say what it would do; writes nothing")
    words.add_argument("--outcome", default="", metavar="FILE", help="also write the outcome there, as JSON")
    return words


def days(arguments: argparse.Namespace) -> tuple[date | None, date | None]:
    if arguments.date and (arguments.first or arguments.last):
        raise ConfigurationError("--date stands for one day; say either --date, or --from and --to")
    if bool(arguments.first) != bool(arguments.last):
        raise ConfigurationError("--from and --to go together; one day alone is --date")
    first, last = _day(arguments.first or arguments.date), _day(arguments.last or arguments.date)
    if first and last and first > last:
        raise ConfigurationError(f"--from {first} is after --to {last}")
    return first, last


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no day; expected one like 2017-12-31") from error


def make_room(place: str) -> None:
    """Makes the folder of --outcome, and sees that a file can be written there, before the job runs for hours."""
    if not place or "://" in place:
        return
    path, is_new = Path(place), not Path(place).exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"--outcome {place} cannot be written: {error}") from error


def leave_outcome(line: str, name: str, place: str) -> None:
    """Writes the outcome to its place, which `make_room` has seen; where that fails after all, it is printed."""
    try:
        if "://" in place:
            write_text(create_session(name), place, line + "\n")
        elif place:
            Path(place).write_text(line + "\n", encoding="utf-8")
    except Exception as error:  # Hadoop's come as Py4J's; the job's own exit code is what counts
        log.error("the outcome could not be written to %s: %s", place, error)
        place = ""
    if not place:
        print(line, flush=True)
