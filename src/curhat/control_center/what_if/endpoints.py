"""The endpoints of the what-ifs. The endpoints open the transactions."""

from typing import Any, Final
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.what_if import service
from curhat.control_center.what_if.errors import TooManyWhatIfs, WhatIfFinished
from curhat.control_center.what_if.schemas import WhatIf, WhatIfBegun, WhatIfList, WhatIfQuestion
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers

WHAT_IF: Final = ["what-if"]


@post(
    "/api/control-center/what-if",
    operation_id="ask_what_if",
    tags=WHAT_IF,
    status_code=202,
    opt=needs("ask_what_if"),
    responses=answers({202: WhatIfBegun}, *OPERATOR_WITH_KEY, TooManyWhatIfs),
)
async def ask_what_if(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    data: JSONBody[WhatIfQuestion],
) -> Response[Any]:
    """Ask how a past period would have been with other settings or more mitras. A worker computes the answer."""
    return await command(
        request, database, operator.identity, lambda tx: service.ask(tx, operator, data), status=202
    )


@get(
    "/api/control-center/what-if",
    operation_id="list_what_ifs",
    tags=WHAT_IF,
    opt=needs("view"),
    responses=answers({200: WhatIfList}, *OPERATOR_SIGNED_IN),
)
async def list_what_ifs(database: NamedDependency[Database]) -> WhatIfList:
    """The newest what-ifs, with their answers."""
    async with database.transaction() as tx:
        return await service.list_what_ifs(tx)


@get(
    "/api/control-center/what-if/{what_if_id:uuid}",
    operation_id="get_what_if",
    tags=WHAT_IF,
    opt=needs("view"),
    responses=answers({200: WhatIf}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_what_if(database: NamedDependency[Database], what_if_id: FromPath[UUID]) -> WhatIf:
    """One what-if, with its progress, and with its answer once it is done."""
    async with database.transaction() as tx:
        return await service.read_what_if(tx, what_if_id)


@delete(
    "/api/control-center/what-if/{what_if_id:uuid}",
    operation_id="cancel_what_if",
    tags=WHAT_IF,
    status_code=204,
    opt=needs("ask_what_if"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound, WhatIfFinished),
)
async def cancel_what_if(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    what_if_id: FromPath[UUID],
) -> None:
    """Cancel a what-if that waits or runs."""
    async with database.transaction() as tx:
        await service.cancel(tx, operator, what_if_id)


ROUTES: list[BaseRouteHandler] = [ask_what_if, list_what_ifs, get_what_if, cancel_what_if]
