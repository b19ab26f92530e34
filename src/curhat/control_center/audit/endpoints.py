"""The endpoint of the audit."""

from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.control_center.audit.filters import filter_audit
from curhat.control_center.audit.schemas import AuditEntry
from curhat.control_center.audit.service import read_audit_entries
from curhat.control_center.lists.answers import ListRequest, filtered_by
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
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
    dependencies=filtered_by(filter_audit),
)
async def list_audit(list_request: NamedDependency[ListRequest]) -> Response[Any]:
    """Actions with old and new values, newest first. `actor`: an operator's id or e-mail, or `system`."""
    return await list_request.answer("audit", AuditEntry, read_audit_entries)


ROUTES: list[BaseRouteHandler] = [list_audit]
