"""The endpoints of the help lines. The endpoints open the transactions."""

from datetime import datetime
from typing import Any, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.content.help_lines import service as help_lines
from curhat.content.help_lines.errors import AlreadyPublished, NewerProposal, OwnProposal
from curhat.control_center.help_lines import queries
from curhat.control_center.help_lines.queries import VersionRow
from curhat.control_center.help_lines.schemas import HelpLineProposal, HelpLineVersion, HelpLineVersions
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.schemas import from_row, operator_reference
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers
from curhat.kit.queries import read_clock

HELP_LINES: Final = ["help lines"]
MAX_VERSIONS_SHOWN: Final = 20
# PostgreSQL's integer.
MAX_VERSION: Final = 2**31 - 1


@get(
    "/api/control-center/help-lines",
    operation_id="list_help_line_versions",
    tags=HELP_LINES,
    opt=needs("view"),
    responses=answers({200: HelpLineVersions}, *OPERATOR_SIGNED_IN),
)
async def list_help_line_versions(database: NamedDependency[Database]) -> HelpLineVersions:
    """The current version, the proposed version, and the newest versions."""
    async with database.transaction() as tx:
        now = await read_clock(tx)
        rows = await queries.list_versions(tx, max_versions=MAX_VERSIONS_SHOWN, only_version=None)
    versions = [_version(row, now) for row in rows]
    return HelpLineVersions(
        current=next((version for version in versions if version.published_at is not None), None),
        proposed=next((version for version in versions[:1] if version.published_at is None), None),
        history=versions[:MAX_VERSIONS_SHOWN],
        server_now=now,
    )


@post(
    "/api/control-center/help-lines",
    operation_id="propose_help_lines",
    tags=HELP_LINES,
    status_code=201,
    opt=needs("publish"),
    responses=answers({201: HelpLineVersion}, *OPERATOR_WITH_KEY),
)
async def propose_help_lines(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    data: JSONBody[HelpLineProposal],
) -> Response[Any]:
    """Propose a new list. Everybody sees it after another admin has published it."""

    async def step(tx: Transaction) -> HelpLineVersion:
        return await _read(tx, await help_lines.propose(tx, operator.id, data.items))

    return await command(request, database, operator.identity, step, status=201)


@post(
    "/api/control-center/help-lines/{version:int}/approval",
    operation_id="publish_help_lines",
    tags=HELP_LINES,
    status_code=200,
    opt=needs("publish"),
    responses=answers(
        {200: HelpLineVersion}, *OPERATOR_WITH_KEY, NotFound, OwnProposal, AlreadyPublished, NewerProposal
    ),
)
async def publish_help_lines(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    version: FromPath[int],
) -> Response[Any]:
    """Publish the newest proposal of another admin. From now on, everybody sees it."""

    async def step(tx: Transaction) -> HelpLineVersion:
        if not 0 < version <= MAX_VERSION:
            raise NotFound
        await help_lines.publish(tx, operator.id, version)
        return await _read(tx, version)

    return await command(request, database, operator.identity, step)


async def _read(tx: Transaction, version: int) -> HelpLineVersion:
    rows = await queries.list_versions(tx, max_versions=1, only_version=version)
    return _version(rows[0], await read_clock(tx))


def _version(row: VersionRow, now: datetime) -> HelpLineVersion:
    items = help_lines.items_of(row.items)
    return from_row(
        HelpLineVersion,
        row,
        items=items,
        proposed_by=operator_reference(row.proposed_by, row.proposed_by_email),
        published_by=operator_reference(row.published_by, row.published_by_email),
        unverified=[line.id for line in items if help_lines.is_unverified(line, now)],
    )


ROUTES: list[BaseRouteHandler] = [list_help_line_versions, propose_help_lines, publish_help_lines]
