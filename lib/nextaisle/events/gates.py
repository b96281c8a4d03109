"""Shares of a batch's records beyond which nothing is published."""

from pyspark.sql import functions as F

from nextaisle.config import Settings
from nextaisle.contract import reasons
from nextaisle.contract.errors import GateError
from nextaisle.events.batch import Batch
from nextaisle.events.bots import USER_DAY
from nextaisle.events.cleaning import CONFLICTS, DUPLICATE, OUTCOME
from nextaisle.events.files import names_days
from nextaisle.events.mapping import BYTES
from nextaisle.events.records import PATH
from nextaisle.events.stored import NEW, ORIGIN


def check_shares(batch: Batch, settings: Settings) -> None:
    """Bots are no fault of the mapping: they have a limit of their own.

    Bytes are weighed beside records: a quote that never ends makes one record of all that follows it.

    Raises:
        GateError: a larger share than max_rejected_share was refused, or repeats an id but not its event, or a larger
            share of users than max_user_share are bots.
    """
    most = settings.events.max_rejected_share
    own = [row for row in batch.groups if row[ORIGIN] == NEW and row[OUTCOME] != reasons.BOT]
    refused = [row for row in own if row[OUTCOME] in reasons.REASONS]
    by_reason = {reason: count for reason, count in batch.by_outcome.items() if reason in reasons.REASONS}
    has_bots = by_reason.pop(reasons.BOT, 0) > 0
    share_of_bytes = sum(row[BYTES] for row in refused) / (sum(row[BYTES] for row in own) or 1)
    count = sum(row["count"] for row in own)
    if max(sum(by_reason.values()), share_of_bytes * count) > most * count:
        raise GateError(
            f"{sum(by_reason.values()):,} of {count:,} records, {share_of_bytes:.1%} of their bytes, were refused "
            f"({by_reason}), more than events.max_rejected_share = {most} allows; nothing was published. Mend the "
            f"mapping or the logs, or raise it{_about_late_files(batch, settings)}"
        )
    conflicts = sum(row[CONFLICTS] for row in own)
    if conflicts > most * count:
        raise GateError(
            f"{conflicts:,} of {count:,} records have the event_id of another record with another user, type or item, "
            f"more than events.max_rejected_share = {most} allows; nothing was published. Is "
            f"source.columns.event_id = {settings.source.columns.get('event_id')!r} unique to an event?"
        )
    if has_bots:
        _check_bots(batch, settings)


def _about_late_files(batch: Batch, settings: Settings) -> str:
    late = batch.counted.where(F.col(OUTCOME) == reasons.TOO_LATE).agg(F.max_by(PATH, "count")).collect()[0][0]
    if late is None or names_days(settings.source):
        return ""
    return (
        f". Of {late} much is too late: where source.path has no {{date}}, a file counts as a whole for the day for "
        "which it is read, and one that has grown is read again. Bring what is new in files of its own; for old logs "
        "set events.max_late_days = 0"
    )


def _check_bots(batch: Batch, settings: Settings) -> None:
    good = batch.records.where((F.col(ORIGIN) == NEW) & ~F.col(OUTCOME).isin(*reasons.OF_THE_RECORD, DUPLICATE))
    days = good.groupBy(*USER_DAY).agg(F.max(F.col(OUTCOME) == reasons.BOT).alias("is_bot"))
    row = days.agg(F.count("*").alias("days"), F.count_if("is_bot").alias("bots")).collect()[0]
    if row["bots"] / row["days"] > settings.bots.max_user_share:
        raise GateError(
            f"{row['bots']:,} of {row['days']:,} users, by day, are bots by the rules of [bots], more than "
            f"bots.max_user_share = {settings.bots.max_user_share} allows; nothing was published. Are the rules too "
            "strict for this shop? Mend them, or raise it"
        )
