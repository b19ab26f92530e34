"""The HTTP operations with which a member leaves a chat in one press (T.5)."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.journeys import leaving
from curhat.journeys.schemas import LeaveByCustomer, LeaveByMitra, LeftMitraSession, LeftSession
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_WITH_KEY, WITH_KEY, answers

Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@post(
    "/api/client/sessions/{session_id:uuid}/leave",
    status_code=200,
    responses=answers({200: LeftSession}, *WITH_KEY, NotFound, ValidationFailed),
)
async def leave_session_by_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[LeaveByCustomer | None] = None,
) -> Response[bytes]:
    """Leave the chat: end it, and report and block the bestie if wanted, in one step.

    The chat ends even if the report or the block is refused: `not_stored` names the refused part. A chat that is over
    already is answered as it ended, and the report and the block are stored.
    """
    wanted = data or LeaveByCustomer()
    return await command(
        request,
        database,
        customer,
        lambda tx: leaving.leave_as_customer(tx, customer.user_id, session_id, wanted),
    )


@post(
    "/api/mitra/sessions/{session_id:uuid}/leave",
    status_code=200,
    responses=answers({200: LeftMitraSession}, *MITRA_WITH_KEY, NotFound, ValidationFailed),
)
async def leave_session_by_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[LeaveByMitra | None] = None,
) -> Response[bytes]:
    """Leave the chat: end it, and report and block the customer if wanted, in one step. An operator reviews the chat.

    The chat ends even if the report or the block is refused: `not_stored` names the refused part. A chat that is over
    already is answered as it ended, and the report and the block are stored.
    """
    wanted = data or LeaveByMitra()
    return await command(
        request,
        database,
        mitra,
        lambda tx: leaving.leave_as_mitra(tx, mitra.user_id, session_id, wanted),
    )


ROUTES: list[BaseRouteHandler] = [leave_session_by_customer, leave_session_by_mitra]
