"""Which versions a store reads, from its first read of a table on, and which it must still find when it writes."""

from nextaisle.contract.errors import ConflictError
from nextaisle.contract.tables import Table
from nextaisle.storage.delta_log import Version


class Pins:
    """Of the tables of one store."""

    def __init__(self) -> None:
        # Of tables that were there, by their names: what job_runs tells.
        self.read: dict[str, Version] = {}
        self._missing: set[str] = set()
        # What this store's rows were made from, None where there was no table: another's commit in between must not be
        # overwritten.
        self._base: dict[str, int | None] = {}

    def has(self, table: Table) -> bool:
        """Whether it is known which version is read, or that there is none."""
        return table.name in self.read or table.name in self._missing

    def pin(self, table: Table, version: Version | None) -> None:
        self._base[table.name] = version.number if version else None
        if version:
            self.read[table.name] = version
        else:
            self._missing.add(table.name)

    def of(self, table: Table) -> Version | None:
        return self.read.get(table.name)

    def wrote(self, table: Table, number: int) -> None:
        """A version that this store has made; what is read stays."""
        self._base[table.name] = number

    def last(self, table: Table) -> int | None:
        """The version that this store has made, or else was the latest when it was pinned."""
        return self._base.get(table.name)

    def check(self, table: Table, current: Version | None) -> None:
        """
        Raises:
            ConflictError: another writer committed since the table was read.
        """
        number = current.number if current else None
        base = self._base.get(table.name, number)
        if number != base:
            since = "it was found missing" if base is None else f"version {base} was read"
            raise ConflictError(f"another job wrote table {table.name} since {since}; run the job again")
