"""The audit's endpoint: HTTP in, a list, HTTP out."""

from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from curhat.control_center.audit.filters import filter_audit
from curhat.control_center.audit.schemas import AuditEntry
from curhat.control_center.audit.service import read_audit_entries
from curhat.control_center.lists.answers import answer_list
from curhat.control_center.lists.query_values import Cursor, Format, From, Text, To
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.openapi import answers
from curhat.kit.page import Page

AUDIT: Final = ["audit"]


@get(
    "/api/control-center/audit",
    operation_id="list_audit",
    tags=AUDIT,
    opt=needs("view"),
    responses=answers({200: Page[AuditEntry]}, *OPERATOR_SIGNED_IN, ValidationFailed),
)
async def list_audit(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    actor: Text = None,
    action: Text = None,
    subject: Text = None,
    subject_id: Text = None,
    since: From = None,
    until: To = None,
    cursor: Cursor = None,
    format: FromQuery[Format] = "json",  # noqa: A002  the contract's name
) -> Response[Any]:
    """Who did what, when, from what to what; newest first. `actor`: an operator's id or e-mail, or `system`."""
    filters = filter_audit(actor, action, subject, subject_id, since, until)
    return await answer_list(
        database, operator, "audit", AuditEntry, read_audit_entries, filters, cursor, format
    )


ROUTES: list[BaseRouteHandler] = [list_audit]
