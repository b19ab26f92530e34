"""The HTTP endpoints that delete an account."""

from litestar import Response, delete
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.accounts import service as accounts
from curhat.accounts.endpoints import FRESH_CODE_HEADER, answer_sign_out
from curhat.accounts.errors import CodeInvalid, FreshCodeMissing
from curhat.accounts.service import Authenticator
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import SIGNED_IN, answers
from curhat.kit.settings import Settings
from curhat.payments.errors import JourneyInProgress
from curhat.privacy.erasure import service

_REFUSALS = (*SIGNED_IN, FreshCodeMissing, CodeInvalid, NotFound, JourneyInProgress)


@delete(
    "/api/client/me",
    operation_id="delete_customer",
    status_code=204,
    responses=answers({204: None}, *_REFUSALS),
)
async def delete_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
    customer: NamedDependency[Identity],
) -> Response[None]:
    """Delete the customer's account (P.3). Nobody can read the name, the number or a chat any more.

    The texts are destroyed within 72 hours. Payments stay for accounting, without a name. Refused while a payment is
    open or a session runs.
    """
    return await _delete(request, database, settings, authenticator, customer)


@delete(
    "/api/mitra/me", operation_id="delete_mitra", status_code=204, responses=answers({204: None}, *_REFUSALS)
)
async def delete_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
    any_mitra: NamedDependency[Identity],
) -> Response[None]:
    """Delete the mitra's account (P.3). A suspended mitra may do this, too. Refused while a session runs."""
    return await _delete(request, database, settings, authenticator, any_mitra)


async def _delete(
    request: AnyRequest,
    database: Database,
    settings: Settings,
    authenticator: Authenticator,
    identity: Identity,
) -> Response[None]:
    signed_in = await authenticator.identify(identity.role, request.scope)
    digests: list[bytes] = []
    async with database.transaction() as tx:
        refusal = await accounts.use_fresh_code(
            tx, settings.secret_key, identity, request.headers.get(FRESH_CODE_HEADER)
        )
        if refusal is None:
            digests = await service.delete_account(tx, settings.secret_key, identity)
    if refusal is not None:
        # Raise the refusal after the commit, so that a wrong try stays counted.
        raise refusal
    for digest in digests:
        # Without this call, this process would trust the token until the signal of the deletion arrives.
        authenticator.forget_token(digest)
    return answer_sign_out(identity.role, signed_in.transport, settings)


ROUTES: list[BaseRouteHandler] = [delete_customer, delete_mitra]
