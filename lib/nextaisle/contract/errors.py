"""Errors, each with the exit code that an orchestrator sees.

A message says what was found, what was expected and what to do about it.
"""

import re

DONE = 0
UNEXPECTED = 10


class NextaisleError(Exception):
    """Anything that nextaisle refuses on purpose."""

    exit_code = UNEXPECTED


class ConfigurationError(NextaisleError):
    """A wrong call, a wrong setting, or a mapped column that the log lacks."""

    exit_code = 2


class InputError(NextaisleError):
    """Input that is missing or cannot be read: no folder, a truncated archive."""

    exit_code = 3


class GateError(NextaisleError):
    """A data or quality gate said no: nothing was published but the account of it."""

    exit_code = 4


class ConflictError(NextaisleError):
    """Another writer was faster; running the job again mends it."""

    exit_code = 5


class SchemaError(NextaisleError):
    """A DataFrame does not have the columns that its table promises: a defect of ours."""


class StepError(NextaisleError):
    """A job of a chain failed; the chain ends with that job's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refusal_in(error: BaseException) -> NextaisleError | None:
    """The error, if it is one of ours; or the one of ours that Spark's worker raised, which Spark tells as a text."""
    if isinstance(error, NextaisleError):
        return error
    for name, message in re.findall(rf"^{__name__}\.(\w+): (.+)$", str(error), re.MULTILINE):
        kind = globals().get(name)
        if isinstance(kind, type) and issubclass(kind, NextaisleError) and kind is not StepError:
            return kind(message)
    return None
