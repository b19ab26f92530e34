"""What crosses the border about the present and the recent past."""

from datetime import datetime
from uuid import UUID

import msgspec

from curhat.pairing.states import FailureTag, PairingKind


class SearchNow(msgspec.Struct, frozen=True, kw_only=True):
    """A search under way: how long it has run, how many were asked, and how many of them rejected."""

    pairing_id: UUID
    payment_id: UUID
    kind: PairingKind
    call_name: str
    began_at: datetime
    deadline_at: datetime
    age_seconds: float
    asked: int
    rejected: int


class Funnel(msgspec.Struct, frozen=True):
    """What happened since midnight in Jakarta: payments opened and confirmed, sessions begun and finished."""

    opened: int
    confirmed: int
    matched: int
    finished: int


class AcceptanceSeconds(msgspec.Struct, frozen=True):
    """How long searches that found somebody today took; null while none has."""

    p50: float | None
    p95: float | None


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """Now. `connected`, `available` and `free_capacity` are null while Valkey does not answer.

    `online`: by intent and not suspended. `available`: may be asked now, which have `free_capacity` places together.
    `refunds_refused`: decided cases of which the gateway refused to give something back, and was not asked again.
    `searches`: the oldest 100 of `searching_now`. Today is the day in Jakarta (WIB).
    """

    online: int
    connected: int | None
    available: int | None
    free_capacity: int | None
    active_sessions: int
    searching_now: int
    searches: list[SearchNow]
    funnel: Funnel
    acceptance_seconds: AcceptanceSeconds
    failures_by_tag: dict[FailureTag, int]
    open_cases: int
    refunds_awaiting_approval: int
    refunds_refused: int
    today_began_at: datetime
    server_now: datetime


class Bucket(msgspec.Struct, frozen=True):
    """One hour or day, from `began_at`: payments opened and confirmed, sessions begun and finished, failures."""

    began_at: datetime
    opened: int
    confirmed: int
    matched: int
    finished: int
    failed: int


class Charts(msgspec.Struct, frozen=True):
    """The last 24 hours and the last 30 days in Jakarta (WIB), oldest first; the last one of each is not over."""

    hours: list[Bucket]
    days: list[Bucket]
    server_now: datetime
