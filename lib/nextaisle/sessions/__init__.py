"""Events to sessions: whole, or from the day on which events changed."""

from nextaisle.sessions.linking import Links, read_links, rebuild_linked_sessions, refuse_lost
from nextaisle.sessions.rebuilding import Rebuilt, count_sessions, rebuild_sessions

__all__ = [
    "Links", "Rebuilt", "count_sessions", "read_links", "rebuild_linked_sessions", "rebuild_sessions", "refuse_lost",
]  # fmt: skip
