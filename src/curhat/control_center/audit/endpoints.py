"""The audit: HTTP in, a list, HTTP out."""

from typing import Any, Final
from uuid import UUID

import asyncpg
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from curhat.control_center.audit.schemas import AuditEntry
from curhat.control_center.audit.service import SQL
from curhat.control_center.lists import (
    Cursor,
    Filters,
    Format,
    From,
    Text,
    To,
    answer_list,
    checked_text,
    cursor_of,
    key_of,
    page_of,
)
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.database import Database, Transaction
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
    filters = Filters(SQL.entries)
    who = checked_text("actor", actor)
    if who is not None:
        filters.add(
            "audit_entries.actor IN ({0}, (SELECT id::text FROM operators WHERE email = lower({0})))", who
        )
        filters.given.append("actor=…")
    for name, value in (("action", action), ("subject", subject), ("subject_id", subject_id)):
        filters.equal(name, f"audit_entries.{name}", checked_text(name, value))
    filters.between("audit_entries.occurred_at", since, until)

    async def fetch(tx: Transaction, after: str | None, limit: int) -> Page[AuditEntry]:
        return await _page(tx, filters, after, limit)

    return await answer_list(
        database, operator, "audit", AuditEntry, fetch, filters, cursor=cursor, wanted=format
    )


async def _page(tx: Transaction, filters: Filters, cursor: str | None, limit: int) -> Page[AuditEntry]:
    key = key_of(cursor)
    # Entries are numbered; a number this large is of a cursor that was made up, and finds what a number finds.
    after = None if key is None else (key[1], min(key[2].int, 2**63 - 1))
    condition = "(audit_entries.occurred_at, audit_entries.id) < ({0}, {1})"
    rows = await filters.fetch(tx, condition, after, limit)
    return page_of(rows, limit, _entry, lambda row: cursor_of(row["occurred_at"], UUID(int=row["id"])))


def _entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(**dict(row))


ROUTES: list[BaseRouteHandler] = [list_audit]
