"""Raw records -> events and rejected_events."""

from nextaisle.events.files import days_in_logs, names_days
from nextaisle.events.unread import unread_days

__all__ = ["days_in_logs", "names_days", "unread_days"]
