"""Events to sessions: whole, or from the day on which events changed."""

from nextaisle.sessions.rebuilding import Rebuilt, rebuild_sessions

__all__ = ["Rebuilt", "rebuild_sessions"]
