"""The realtime event about notices."""

from typing import Final

from curhat.realtime.event_types import EventType
from curhat.safety.reports.schemas import Notice

NOTICE_CREATED: Final = EventType("notice.created", Notice, Notice)
