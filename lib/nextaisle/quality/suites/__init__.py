"""What must hold of every table: data, no code. A table's rows are read once for all that one row can tell."""

from typing import Final

from nextaisle.quality.suites.attributes import ATTRIBUTES
from nextaisle.quality.suites.histories import USER_HISTORIES
from nextaisle.quality.suites.lists import LISTS
from nextaisle.quality.suites.logs import LOGS
from nextaisle.quality.suites.profiles import PROFILES_AND_GRAPH

SUITES: Final = (*LOGS, *USER_HISTORIES, *ATTRIBUTES, *PROFILES_AND_GRAPH, *LISTS)
