"""A night's records with their outcomes, and what they add up to: what gates ask, jobs report and publishing needs."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from nextaisle.contract import reasons
from nextaisle.events.bots import RULE
from nextaisle.events.cleaning import ACCEPTED, CONFLICTS, DUPLICATE, OUTCOME
from nextaisle.events.files import SourceFile
from nextaisle.events.mapping import BYTES, INGEST_DATE
from nextaisle.events.records import PATH
from nextaisle.events.stored import NEW, ORIGIN, STORED, STORED_OUTCOME, STORED_RULE

# What a batch is counted by; the event_date is that of good records only, as others may name any day.
COUNTED_BY = (PATH, ORIGIN, INGEST_DATE, OUTCOME, RULE, STORED_OUTCOME, STORED_RULE, "event_date")
# How many bytes the longest event of a group has in its texts.
LONGEST: Final = "longest"
# Of a batch of Arrow's as conf/spark-defaults.conf has it, 4,000 rows, these are 64 MB.
_LONG: Final = 16_000


@dataclass(frozen=True)
class Batch:
    """A night's records and all events that are stored of the days that they touch, each with its outcome."""

    records: DataFrame
    counted: DataFrame  # how many of them there are, by file, day and outcome
    days: tuple[date, ...]  # of the logs, whose refused records change
    touched: tuple[date, ...]  # event_dates, whose events change
    replaces: Column  # which rows of rejected_events the records stand for
    files: DataFrame | None = None  # rows of source_files, not yet counted; None where none were read
    sources: tuple[SourceFile, ...] = ()  # the same as they were listed
    is_replay: bool = False
    changes: tuple[str, ...] = ()  # flags of records that [source.policies] changed
    lacking: tuple[str, ...] = ()  # columns of events that the log has nothing for

    @cached_property
    def groups(self) -> list[Row]:
        """`counted` without the files: a few rows for each day."""
        groups = self.counted.groupBy(*(name for name in COUNTED_BY if name != PATH))
        sums = [F.sum(name).alias(name) for name in ("count", BYTES, CONFLICTS, *self.changes)]
        return groups.agg(*sums, F.max(LONGEST).alias(LONGEST)).collect()

    @property
    def has_long(self) -> bool:
        """Whether some events are so long that a full batch of Arrow's could be too large."""
        return any(row[OUTCOME] == ACCEPTED and row[LONGEST] > _LONG for row in self.groups)

    @property
    def _moved(self) -> list[Row]:
        """Of stored events those that another outcome than theirs awaits."""
        stored = [row for row in self.groups if row[ORIGIN] == STORED]
        return [row for row in stored if (row[OUTCOME], row[RULE]) != (row[STORED_OUTCOME], row[STORED_RULE])]

    @property
    def moved_days(self) -> set[date]:
        """Days of the logs whose stored events move between events and rejected_events."""
        return {row[INGEST_DATE] for row in self._moved}

    @property
    def has_rejected(self) -> bool:
        """Whether anything of the batch, or of what is stored of its days, belongs in rejected_events."""
        return any(row[OUTCOME] in reasons.REASONS for row in self.groups)

    @property
    def has_leaving(self) -> bool:
        """Whether events leave rejected_events for events."""
        leaving = [row for row in self._moved if row[OUTCOME] == ACCEPTED]
        replayed = [row for row in self.groups if self.is_replay and (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)]
        return bool(leaving or replayed)

    @property
    def days_with_events(self) -> set[date]:
        """Days of the logs that brought events in this batch."""
        return {row[INGEST_DATE] for row in self.groups if (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)}

    @property
    def days_with_stored(self) -> set[date]:
        """Days of which other events are among the records."""
        return {row["event_date"] for row in self.groups if row[ORIGIN] == STORED}

    @property
    def accepted_of_day(self) -> dict[date, int]:
        counts: dict[date, int] = {}
        for row in self.groups:
            if row[OUTCOME] == ACCEPTED:
                counts[row["event_date"]] = counts.get(row["event_date"], 0) + row["count"]
        return counts

    @property
    def by_outcome(self) -> dict[str, int]:
        """The batch's own records, which add up because each has exactly one outcome."""
        counts: dict[str, int] = {}
        for row in sorted(self.groups, key=lambda row: row[OUTCOME]):
            if row[ORIGIN] == NEW:
                counts[row[OUTCOME]] = counts.get(row[OUTCOME], 0) + row["count"]
        return counts

    @property
    def changed(self) -> dict[str, int]:
        """How many of the batch's events have a value that the log did not give them, as {"filled_price": 3}."""
        events = [row for row in self.groups if (row[ORIGIN], row[OUTCOME]) == (NEW, ACCEPTED)]
        return {name: sum(row[name] for row in events) for name in self.changes}

    def counts(self) -> dict[str, int]:
        """As a job reports them; what moved are events of earlier nights, beside the batch's records."""
        by_outcome = self.by_outcome
        accepted, duplicates = by_outcome.pop(ACCEPTED, 0), by_outcome.pop(DUPLICATE, 0)
        rejected = sum(by_outcome.values())
        withdrawn = sum(row["count"] for row in self._moved if row[STORED_OUTCOME] == ACCEPTED)
        restored = sum(row["count"] for row in self._moved if row[OUTCOME] == ACCEPTED)
        moved = {"withdrawn": withdrawn, "restored": restored}
        return {
            "records": accepted + rejected + duplicates, "accepted": accepted, "rejected": rejected,
            "duplicates": duplicates, **{f"rejected_{reason}": count for reason, count in by_outcome.items()},
            **{name: count for name, count in (self.changed | moved).items() if count},
        }  # fmt: skip
