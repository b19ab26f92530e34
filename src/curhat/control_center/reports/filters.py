"""Converts the query parameters of the list of reports to filters. Raises ValidationFailed."""

from typing import Final
from uuid import UUID

from litestar.params import FromQuery

from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import From, To
from curhat.kit.identity import Role
from curhat.safety.reports.states import ReportKind, ReportReason, ReportStatus

_OVERDUE: Final = "reports.queue_rank < 3 AND reports.due_at < curhat_now()"


def filter_reports(
    status: FromQuery[ReportStatus | None] = None,
    reason: FromQuery[ReportReason | None] = None,
    kind: FromQuery[ReportKind | None] = None,
    reporter: FromQuery[Role | None] = None,
    overdue: FromQuery[bool | None] = None,
    waiting: FromQuery[bool | None] = None,
    session_id: FromQuery[UUID | None] = None,
    customer_id: FromQuery[UUID | None] = None,
    mitra_id: FromQuery[UUID | None] = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter reports. `waiting`: an operator must take a step. `from` and `to` limit the time of the report."""
    filters = Filters()
    filters.equal("status", "reports.status", status)
    filters.equal("reason", "reports.reason", reason)
    filters.equal("kind", "reports.kind", kind)
    filters.equal("reporter", "reports.reporter", reporter)
    filters.holds("overdue", _OVERDUE, overdue)
    filters.holds("waiting", "reports.queue_rank < 3", waiting)
    filters.equal("session_id", "reports.session_id", session_id)
    filters.equal("customer_id", "reports.customer_id", customer_id)
    filters.equal("mitra_id", "reports.mitra_id", mitra_id)
    filters.between("reports.created_at", since, until)
    return filters
