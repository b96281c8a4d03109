"""How a check is declared: rows, and SQL that holds of each good one.

Expectation and suite are Great Expectations' words; expectations are named as dbt and dbt_utils name their tests:
unique_..., not_null_..., accepted_values_..., accepted_range_..., relationships_... (foreign keys). Where two tables
must add up to the same it is reconciled_...; severities are dbt's.
"""

import string
from dataclasses import dataclass, field
from typing import Final, Literal

from nextaisle.contract.tables import Table

Severity = Literal["error", "warning"]
ERROR: Final = "error"
WARNING: Final = "warning"


@dataclass(frozen=True)
class Expectation:
    """`holds` is SQL over a row; where it is false, or null, the row fails."""

    name: str
    holds: str
    severity: Severity = ERROR


@dataclass(frozen=True)
class Suite:
    """What must hold of the rows of one SELECT.

    The SELECT reads tables as `{events}`, of which it sees the days that are checked and those that reach into them;
    it gives each row a `day`, and the columns of `key`, by which a failed row is named. Values come as :name.
    Where rows are many, and narrower ones tell the same of each day, `counted` is a SELECT of these; then `rows` are
    asked only to name those that fail.
    """

    table: Table
    rows: str
    key: tuple[str, ...]
    expectations: tuple[Expectation, ...]
    counted: str = ""
    reads: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", tables_in(self.rows))


def tables_in(select: str) -> frozenset[str]:
    """The names that a SELECT reads as `{name}`."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(select) if name)


def not_null(table: Table) -> Expectation:
    """Delta enforces it at a write; a table that somebody else wrote may not have been made by us."""
    return Expectation("not_null", " and ".join(f"{c.name} is not null" for c in table.columns if not c.is_nullable))


def unique(table: Table, *columns: str, day: str = "", name: str = "unique_key") -> Suite:
    """No two rows of a day have the same columns; without columns, the same key. `day` is SQL for the row's day."""
    columns = columns or table.key
    day = day or table.partition[0]
    listed = ", ".join(columns)
    rows = f"select {day} as day, {listed}, count(*) as copies from {{{table.name}}} group by all"
    # Numbers go through the shuffle, not texts. A hash leaves nulls out, so it is told where they are.
    told = ", ".join(f"{column}, isnull({column})" for column in columns)
    counted = (
        f"select {day} as day, xxhash64({told}) as half, xxhash64(1, {told}) as other_half, count(*) as copies "
        f"from {{{table.name}}} group by all"
    )
    return Suite(table, rows, columns, (Expectation(name, "copies = 1"),), counted)
