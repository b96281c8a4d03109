"""What came of the checks: rows of data_quality, and the gate."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from pyspark.sql import DataFrame, SparkSession

from nextaisle.contract.errors import GateError
from nextaisle.contract.tables import DATA_QUALITY, Table
from nextaisle.quality.expectations import ERROR, WARNING, Severity
from nextaisle.spark import local_rows

PASSED: Final = "passed"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
# More would hide the first.
_FAILURES_TOLD: Final = 10


@dataclass(frozen=True)
class Outcome:
    """One row of data_quality."""

    table: str
    check: str
    day: date
    value: float
    expected: str
    row_count: int
    severity: Severity
    outcome: Literal["passed", "failed", "skipped"]
    sample: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        return self.outcome == FAILED

    @property
    def stops_the_night(self) -> bool:
        return self.has_failed and self.severity == ERROR


def data_quality_rows(spark: SparkSession, outcomes: Iterable[Outcome]) -> DataFrame:
    rows = [
        (o.table, o.check, o.day, float(o.value), o.expected, o.row_count, o.severity, o.outcome, list(o.sample))
        for o in outcomes
    ]
    # One file a day: sorted, so that equal outcomes are equal files.
    return (
        local_rows(spark, rows, DATA_QUALITY.schema)
        .repartition("check_date")
        .sortWithinPartitions("check_date", "table_name", "check_name")
    )


def counts(outcomes: Sequence[Outcome], tables: Iterable[Table]) -> dict[str, int]:
    """Checks per table, as `events`, and where some failed `events_warnings` and `events_errors`."""
    found: dict[str, int] = {}
    for table in tables:
        of_table = [outcome for outcome in outcomes if outcome.table == table.name]
        failed = [outcome.severity for outcome in of_table if outcome.has_failed]
        parts = {
            table.name: len(of_table),
            f"{table.name}_warnings": failed.count(WARNING),
            f"{table.name}_errors": failed.count(ERROR),
        }
        found |= {name: count for name, count in parts.items() if count}
    return found


def refuse_failures(outcomes: Sequence[Outcome]) -> None:
    """The gate.

    Raises:
        GateError: a check of severity error failed; names the checks, the days and the first rows.
    """
    failures = [outcome for outcome in outcomes if outcome.stops_the_night]
    if not failures:
        return
    told = "\n  ".join(_told(outcome) for outcome in failures[:_FAILURES_TOLD])
    rest = len(failures) - _FAILURES_TOLD
    more = f"\n  and {rest} more, see table {DATA_QUALITY.name}" if rest > 0 else ""
    raise GateError(
        f"{len(failures)} checks of severity error failed:\n  {told}{more}\n"
        "Mend the rows or what made them and run again; what is no fault here is told in [quality.severities]"
    )


def _told(outcome: Outcome) -> str:
    rows = f"; rows: {' | '.join(outcome.sample)}" if outcome.sample else ""
    return (
        f"{outcome.table}.{outcome.check} on {outcome.day}: found {outcome.value:g} of {outcome.row_count:,} rows, "
        f"expected {outcome.expected}{rows}"
    )
