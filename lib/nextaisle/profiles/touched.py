"""What has changed since the last build: from which day on."""

import logging
from datetime import date

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from nextaisle.changes import EVERYTHING, first_day_to_build, last_version_read
from nextaisle.contract.tables import ITEMS, SESSIONS
from nextaisle.job import Night
from nextaisle.profiles.attributes import first_day_of_changed_attributes

log = logging.getLogger(__name__)


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
        changed = first_day_of_changed_attributes(night.store.read_earlier(ITEMS, version), items, category)
    except (PySparkException, Py4JJavaError) as error:
        # VACUUM has taken files of that version.
        log.warning("version %d of table items cannot be read any more; building everything: %s", version.number, error)
        return EVERYTHING
    return max(EVERYTHING, min(first, changed or first))
