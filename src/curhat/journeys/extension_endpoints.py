"""The HTTP operations on extensions. Each operation opens its own transactions, and calls services in them."""

from uuid import UUID

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.accounts import service as accounts
from curhat.journeys import charging
from curhat.journeys.availability import is_connected_or_none
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BusinessError, NotFound, Suspended
from curhat.kit.http import AnyRequest, command, read_idempotent_request, to_answer, to_response
from curhat.kit.idempotency import begin_long, finish_long, keep_refusal
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_WITH_KEY, WITH_KEY, answers
from curhat.kit.pause_points import pause_point
from curhat.payments.gateway import Gateway
from curhat.presence.service import Presence
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.errors import ExtensionDecided, ExtensionPending, SessionEnded, TermsChanged
from curhat.sessions.schemas import Extension, ExtensionOrder

# The signed-in user who sends the HTTP request. The module accounts/guards.py provides this identity.
Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@post(
    "/api/client/sessions/{session_id:uuid}/extensions",
    responses=answers(
        {201: Extension}, *WITH_KEY, Suspended, NotFound, SessionEnded, ExtensionPending, TermsChanged
    ),
)
async def request_extension(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[ExtensionOrder],
) -> Response[bytes]:
    """Ask for an extension, on the current terms (5.4). The server charges nothing before the approval.

    If the mitra is not connected, the extension is rejected immediately (5.6). The running session of a suspended
    customer goes on, but gets no more time (T.3).
    """
    async with database.transaction() as tx:
        views = await sessions.own_session(tx, customer, session_id)
    connected = await is_connected_or_none(presence, views.mitra_id)

    async def step(tx: Transaction) -> Extension:
        await accounts.refuse_suspended_customer(tx, customer.user_id)
        return await extension.request(
            tx, customer.user_id, session_id, data.offer_id, connected, data.default_action
        )

    return await command(request, database, customer, step, status=201)


@post(
    "/api/mitra/extensions/{extension_id:uuid}/accept",
    status_code=200,
    responses=answers({200: Extension}, *MITRA_WITH_KEY, NotFound, ExtensionDecided),
)
async def accept_extension(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    gateway: NamedDependency[Gateway],
    mitra: Mitra,
    extension_id: FromPath[UUID],
) -> Response[bytes]:
    """Approve an extension. The server charges the customer now (5.4).

    If the gateway's answer is not known within 5 s, the extension has the status `charging`, and an event reports the
    outcome later. The server calls the gateway between two transactions. If the process dies at any point, a deadline
    finishes the charge.
    """
    idempotent = await read_idempotent_request(request, mitra)
    try:
        async with database.transaction() as tx:
            stored = await begin_long(tx, idempotent)
            if stored is not None:
                return to_response(stored)
            _, attempt = await extension.approve_by_mitra(tx, mitra.user_id, extension_id)
        await pause_point("extension.approved")
        if attempt is not None:
            await charging.charge(database, presence, gateway, attempt)
        async with database.transaction() as tx:
            answer = to_answer(await extension.extension_view(tx, extension_id))
            await finish_long(tx, idempotent, answer)
            return to_response(answer)
    except BusinessError as error:
        await keep_refusal(database, idempotent, error)
        raise


@post(
    "/api/mitra/extensions/{extension_id:uuid}/reject",
    status_code=200,
    responses=answers({200: Extension}, *MITRA_WITH_KEY, NotFound, ExtensionDecided),
)
async def reject_extension(
    request: AnyRequest, database: NamedDependency[Database], mitra: Mitra, extension_id: FromPath[UUID]
) -> Response[bytes]:
    """Reject an extension. The chat ends at its old time, and the server charges nothing (5.4)."""
    return await command(
        request, database, mitra, lambda tx: extension.reject_by_mitra(tx, mitra.user_id, extension_id)
    )


ROUTES: list[BaseRouteHandler] = [request_extension, accept_extension, reject_extension]
