"""The API's structs of the dashboard and its charts."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from curhat.control_center.schemas import OperatorReference
from curhat.pairing.states import FailureTag, PairingKind


class SearchNow(msgspec.Struct, frozen=True, kw_only=True):
    """An open search: how long it has run, how many mitras were asked, and how many of them rejected it."""

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
    """Counts since midnight in Jakarta: payments opened and confirmed, sessions started and ended."""

    opened: int
    confirmed: int
    matched: int
    finished: int


class AcceptanceSeconds(msgspec.Struct, frozen=True):
    """How long today's successful searches took: median and 95th percentile.

    Both numbers are null if no search succeeded today.
    """

    p50: float | None
    p95: float | None


class MoneyToday(msgspec.Struct, frozen=True):
    """Rupiah that the gateway took and gave back today, and what all open cases are about."""

    taken_rp: int
    refunded_rp: int
    under_review_rp: int


class ClosedDay(msgspec.Struct, frozen=True):
    """The last day (in Jakarta) whose books are closed. The sums are what the gateway lists for the day.

    `differences`: charges and refunds about which the gateway and our tables disagree. `broken_invariants`: the names
    of invariants that do not hold. `invariants_checked`: 0 if the check took too long.
    """

    day: date
    closed_at: datetime
    charges: int
    charged_rp: int
    refunds: int
    refunded_rp: int
    differences: int
    invariants_checked: int
    broken_invariants: list[str]


class FrequentReader(msgspec.Struct, frozen=True):
    """An operator who has opened more than ten different chats today, and how many (P.8)."""

    operator: OperatorReference
    chats: int


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """The current figures. `connected`, `available` and `free_capacity` are null while Valkey does not answer.

    `online`: mitras who want to be asked and are not suspended. `available`: mitras who can be asked now.
    `free_capacity`: how many more customers the available mitras can take together. `refunds_refused`: decided cases
    with a refund that the gateway refused and that nobody has requested again. `gateway_unanswered`: payments with a
    charge or refund that the gateway has not answered for 10 minutes. `gateway_alerts`: the audit's alerts of the last
    7 days about answers of the gateway that contradict our records. `deadlines_parked`: deadlines that failed
    repeatedly, and that the worker tries again every hour. `searches`: the oldest 100 of `searching_now`. Today is the
    day in Jakarta (WIB). `match_rate`: the part of today's decided searches that found a mitra, from 0 to 1; null if no
    search was decided. `cases_overdue`: open cases that are older than a day. `deadlines_overdue`: deadlines that are
    more than a minute late. `reports_waiting`: reports and concerns that wait for an operator. `reports_overdue`: those
    whose time is over. `transcripts_waiting`: requests to read a chat that wait for another operator.
    `frequent_readers`: operators who have opened more than ten chats today.
    `help_lines_unverified`: current help lines that nobody has verified for 30 days (H.1).
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
    money: MoneyToday
    match_rate: float | None
    cases_overdue: int
    deadlines_overdue: int
    help_lines_unverified: int
    open_cases: int
    refunds_awaiting_approval: int
    refunds_refused: int
    gateway_unanswered: int
    gateway_alerts: int
    deadlines_parked: int
    reports_waiting: int
    reports_overdue: int
    transcripts_waiting: int
    frequent_readers: list[FrequentReader]
    closed_day: ClosedDay | None
    today_began_at: datetime
    server_now: datetime


class Bucket(msgspec.Struct, frozen=True):
    """The numbers of one hour or day, which began at `began_at`.

    The numbers are the payments opened and confirmed, the sessions started and ended, and the failed pairings.
    """

    began_at: datetime
    opened: int
    confirmed: int
    matched: int
    finished: int
    failed: int


class WeekHour(msgspec.Struct, frozen=True):
    """The sessions that started and the pairings that failed in one hour of the week, in the last four weeks.

    `weekday`: 1 is Monday, 7 is Sunday. `hour`: 0 to 23, in Jakarta (WIB).
    """

    weekday: int
    hour: int
    served: int
    failed: int


class Charts(msgspec.Struct, frozen=True):
    """The last 24 hours and the last 30 days in Jakarta (WIB), oldest first.

    The last hour is the current hour, and the last day is the current day.
    """

    hours: list[Bucket]
    days: list[Bucket]
    week: list[WeekHour]
    server_now: datetime
