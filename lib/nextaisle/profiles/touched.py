"""What has changed since the last build: from which day on, and which sessions."""

import logging
from datetime import date, timedelta
from typing import Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.changes import EVERYTHING, first_day_to_build, last_version_read
from nextaisle.contract.tables import ITEMS, SESSIONS
from nextaisle.job import Night
from nextaisle.profiles.attributes import first_day_touched

log = logging.getLogger(__name__)

# A session is at most 24 hours long, and a day at least 23.
_DAYS_SPANNED: Final = timedelta(days=2)


def first_touched_day(night: Night, job: str) -> date:
    """The first day to build: of changed sessions, or of changed attributes of items, whichever is earlier."""
    first = first_day_to_build(night, job, SESSIONS)
    if first == EVERYTHING or not night.store.exists(ITEMS):
        return first
    version = last_version_read(night, job, ITEMS)
    if version is None:
        return EVERYTHING
    items, category = night.store.read(ITEMS), night.settings.profiles.category
    try:
        touched = first_day_touched(night.store.read_earlier(ITEMS, version), items, category)
    except (PySparkException, Py4JJavaError) as error:
        # VACUUM has taken files of that version.
        log.warning("version %d of table items cannot be read any more; building everything: %s", version.number, error)
        return EVERYTHING
    return max(EVERYTHING, min(first, touched or first))


def touched_sessions(sessions: DataFrame, first: date, zone: str) -> DataFrame:
    """The sessions with events on `first` or later; those that began before are whole."""
    if first == EVERYTHING:
        return sessions
    midnight = F.to_utc_timestamp(F.lit(first).cast("timestamp"), zone)
    is_near = F.col("session_date") >= F.lit(first - _DAYS_SPANNED)
    return sessions.where(is_near & (F.col("end_time") >= midnight))
