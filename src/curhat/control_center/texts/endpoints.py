"""The operators' endpoints of the texts. The endpoints open the transactions."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.content.texts.errors import TextOutdated
from curhat.content.texts.kinds import KINDS, TextKind
from curhat.control_center.lists.query_values import Cursor
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.texts import service
from curhat.control_center.texts.schemas import CurrentTexts, PastVersion, TextPublication, TextVersion
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers
from curhat.kit.page import Page

TEXTS: Final = ["texts"]
MAX_VERSION: Final = 1_000_000


@get(
    "/api/control-center/texts",
    operation_id="list_texts",
    tags=TEXTS,
    opt=needs("view"),
    responses=answers({200: CurrentTexts}, *OPERATOR_SIGNED_IN),
)
async def list_texts(database: NamedDependency[Database]) -> CurrentTexts:
    """Every text that people accept, with its newest version and the number of people who have accepted it."""
    async with database.transaction() as tx:
        return await service.current_texts(tx)


@get(
    "/api/control-center/texts/{kind:str}/versions",
    operation_id="list_text_versions",
    tags=TEXTS,
    opt=needs("view"),
    responses=answers({200: Page[PastVersion]}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed),
)
async def list_text_versions(
    database: NamedDependency[Database], kind: FromPath[str], cursor: Cursor = None
) -> Page[PastVersion]:
    """The versions of a text, newest first."""
    async with database.transaction() as tx:
        return await service.history(tx, _known(kind), cursor)


@get(
    "/api/control-center/texts/{kind:str}/versions/{version:int}",
    operation_id="get_text_version",
    tags=TEXTS,
    opt=needs("view"),
    responses=answers({200: TextVersion}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_text_version(
    database: NamedDependency[Database], kind: FromPath[str], version: FromPath[int]
) -> TextVersion:
    """One version of a text, in both languages."""
    if not 1 <= version <= MAX_VERSION:
        raise NotFound
    async with database.transaction() as tx:
        return await service.read_version(tx, _known(kind), version)


@post(
    "/api/control-center/texts",
    operation_id="publish_text",
    tags=TEXTS,
    status_code=201,
    opt=needs("publish"),
    responses=answers({201: TextVersion}, *OPERATOR_WITH_KEY, TextOutdated),
)
async def publish_text(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    data: JSONBody[TextPublication],
) -> Response[Any]:
    """Publish a new version of a text in both languages. A published version can never be changed.

    From now on, everybody who needs this text must accept the new version before the next payment, or before going
    online. The server refuses the publication if another version has become the newest one since `expected_version`.
    """
    return await command(
        request, database, operator.identity, lambda tx: service.publish(tx, operator, data), status=201
    )


def _known(kind: str) -> TextKind:
    """Return the kind of this name. Raises NotFound."""
    for known in KINDS:
        if known == kind:
            return known
    raise NotFound


ROUTES: list[BaseRouteHandler] = [list_texts, list_text_versions, get_text_version, publish_text]
