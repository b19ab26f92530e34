"""The endpoints of the five configuration rows. The endpoints open the transactions.

The database stores the id of the operator who changed a row. The answers show the operator's e-mail in place of the id.
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.configuration import service as configuration
from curhat.configuration.errors import ChangedMeanwhile
from curhat.configuration.schemas import ConfigurationChange, ConfigurationRow
from curhat.control_center.configuration_screen import queries
from curhat.control_center.configuration_screen.schemas import ConfigurationOrder
from curhat.control_center.lists.query_values import Cursor
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.openapi import answers
from curhat.kit.page import Page

CONFIGURATION: Final = ["configuration"]


@get(
    "/api/control-center/configuration",
    operation_id="list_configuration",
    tags=CONFIGURATION,
    opt=needs("view"),
    responses=answers({200: Page[ConfigurationRow]}, *OPERATOR_SIGNED_IN),
)
async def list_configuration(database: NamedDependency[Database]) -> Page[ConfigurationRow]:
    """All five rows."""
    async with database.transaction() as tx:
        rows = await configuration.list_rows(tx)
        emails = await _emails(tx, {row.updated_by for row in rows})
    return Page(items=[_with_email(row, emails) for row in rows], next_cursor=None)


@put(
    "/api/control-center/configuration/{key:str}",
    operation_id="change_configuration",
    tags=CONFIGURATION,
    opt=needs("configure"),
    responses=answers(
        {200: ConfigurationRow}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed, ChangedMeanwhile
    ),
)
async def change_configuration(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    key: FromPath[str],
    data: JSONBody[ConfigurationOrder],
) -> ConfigurationRow:
    """Change one row. The server refuses the change if somebody else has changed the row since the operator read it.

    The new value applies to everything that starts after the change.
    """
    async with database.transaction() as tx:
        row = await configuration.change(
            tx,
            key=key,
            value=data.value,
            changed_by=str(operator.id),
            expected_updated_at=data.expected_updated_at,
        )
        return _with_email(row, await _emails(tx, {row.updated_by}))


@get(
    "/api/control-center/configuration/{key:str}/history",
    operation_id="list_configuration_history",
    tags=CONFIGURATION,
    opt=needs("view"),
    responses=answers({200: Page[ConfigurationChange]}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed),
)
async def list_configuration_history(
    database: NamedDependency[Database], key: FromPath[str], cursor: Cursor = None
) -> Page[ConfigurationChange]:
    """The changes of this row, newest first. Each change names its author, the old value and the new value."""
    async with database.transaction() as tx:
        page = await configuration.history(tx, key, cursor)
        emails = await _emails(tx, {change.changed_by for change in page.items})
    items = [
        msgspec.structs.replace(change, changed_by=emails.get(change.changed_by, change.changed_by))
        for change in page.items
    ]
    return Page(items=items, next_cursor=page.next_cursor)


async def _emails(tx: Transaction, ids: Collection[str]) -> dict[str, str]:
    """Return a map from each operator's id in `ids` to the operator's e-mail."""
    return {row.id: row.email for row in await queries.read_operator_emails(tx, ids=list(ids))}


def _with_email(row: ConfigurationRow, emails: Mapping[str, str]) -> ConfigurationRow:
    return msgspec.structs.replace(row, updated_by=emails.get(row.updated_by, row.updated_by))


ROUTES: list[BaseRouteHandler] = [list_configuration, change_configuration, list_configuration_history]
