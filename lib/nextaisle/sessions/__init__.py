"""Events to sessions: whole, or from the day on which events changed."""

from nextaisle.sessions.rebuilding import Rebuilt, count_sessions, rebuild_sessions

__all__ = ["Rebuilt", "count_sessions", "rebuild_sessions"]
