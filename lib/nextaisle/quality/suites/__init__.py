"""What must hold of every table: data, no code. A table's rows are read once for all that one row can tell."""

from typing import Final

from nextaisle.quality.suites.attributes import OF_ATTRIBUTES
from nextaisle.quality.suites.histories import OF_USER_HISTORIES
from nextaisle.quality.suites.lists import OF_LISTS
from nextaisle.quality.suites.logs import OF_LOGS
from nextaisle.quality.suites.profiles import OF_PROFILES_AND_GRAPH

SUITES: Final = (*OF_LOGS, *OF_USER_HISTORIES, *OF_ATTRIBUTES, *OF_PROFILES_AND_GRAPH, *OF_LISTS)
