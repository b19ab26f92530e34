"""The HTTP endpoints for signing in and out, for both roles. They open the transactions."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody
from prometheus_client import Counter
from valkey.asyncio import Valkey

from curhat.accounts import cookies, service
from curhat.accounts.address_limit import count_code_request
from curhat.accounts.code_sender import DevelopmentInbox, code_sender, code_text
from curhat.accounts.errors import CallNameRequired, CodeInvalid, NotInvited
from curhat.accounts.phone import normalise
from curhat.accounts.schemas import (
    CodeRequest,
    CodeRequested,
    CodeVerification,
    CustomerSignedIn,
    Inbox,
    MitraSignedIn,
    OwnCustomer,
    OwnMitra,
)
from curhat.accounts.service import Authenticator, SignIn
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    Suspended,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Role
from curhat.kit.openapi import answers
from curhat.kit.pause_points import pause_point
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

# An answer with a token must not be kept by any cache.
NO_STORE: Final = {"Cache-Control": "no-store"}

CUSTOMER: Final = ["customer"]
MITRA: Final = ["mitra"]

CODES_SENT: Final = Counter("curhat_accounts_codes_sent_total", "One-time codes sent.", ["role"])
SIGN_INS: Final = Counter(
    "curhat_accounts_sign_ins_total", "Tries to sign in with a code, by outcome.", ["role", "outcome"]
)

CODE_REFUSALS: Final = (ValidationFailed, TooManyRequests)
VERIFY_REFUSALS: Final = (CodeInvalid, ValidationFailed, TooManyRequests, Forbidden)
SIGN_OUT_REFUSALS: Final = (Unauthenticated, Forbidden, TooManyRequests)


# One-time codes ------------------------------------------------------------------------------------------


@post(
    "/api/client/auth/otp/request",
    operation_id="request_customer_code",
    tags=CUSTOMER,
    status_code=202,
    responses=answers({202: CodeRequested}, *CODE_REFUSALS),
)
async def request_customer_code(
    request: AnyRequest,
    data: JSONBody[CodeRequest],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
) -> CodeRequested:
    """Send a one-time code to a phone. The answer does not tell whether the number is known."""
    return await _send_code(request, "customer", data.phone, database, settings, valkey_client)


@post(
    "/api/mitra/auth/otp/request",
    operation_id="request_mitra_code",
    tags=MITRA,
    status_code=202,
    responses=answers({202: CodeRequested}, *CODE_REFUSALS),
)
async def request_mitra_code(
    request: AnyRequest,
    data: JSONBody[CodeRequest],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
) -> CodeRequested:
    """Send a one-time code to a phone. The answer does not tell whether the number is invited."""
    return await _send_code(request, "mitra", data.phone, database, settings, valkey_client)


async def _send_code(
    request: AnyRequest, role: Role, written: str, database: Database, settings: Settings, valkey: Valkey
) -> CodeRequested:
    phone_number = normalise(written)
    await count_code_request(valkey, request.scope, settings.address_codes_per_hour)
    async with database.transaction() as tx:
        sent = await service.request_code(tx, settings.secret_key, role, phone_number)
    await pause_point("accounts.code_committed")
    await code_sender(settings, database).send(phone_number, code_text(sent.code), sent.code)
    CODES_SENT.labels(role).inc()
    log.info("accounts.code_sent", role=role, code_request_id=str(sent.request_id))
    return CodeRequested(
        request_id=sent.request_id,
        expires_at=sent.expires_at,
        resend_after=sent.resend_after,
        server_now=sent.server_now,
    )


@post(
    "/api/client/auth/otp/verify",
    operation_id="verify_customer_code",
    tags=CUSTOMER,
    status_code=200,
    responses=answers({200: CustomerSignedIn}, *VERIFY_REFUSALS, CallNameRequired),
)
async def verify_customer_code(
    request: AnyRequest,
    data: JSONBody[CodeVerification],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
) -> Response[CustomerSignedIn]:
    """Sign in with the code. The first sign-in needs a `call_name`; without it the refusal does not use up the code."""

    async def verify(tx: Transaction) -> SignIn | BusinessError:
        return await service.verify_customer_code(
            tx,
            settings.secret_key,
            data.request_id,
            data.code,
            call_name=data.call_name,
            transport=data.transport,
        )

    sign_in = await _sign_in(request, "customer", data, verify, database, settings, authenticator)
    assert isinstance(sign_in.person, OwnCustomer)
    if data.transport == "cookie":
        cookie = cookies.token_cookie("customer", sign_in.token, service.TOKEN_VALID_SECONDS, settings)
        return Response(CustomerSignedIn(sign_in.person), headers=NO_STORE, cookies=[cookie])
    return Response(CustomerSignedIn(sign_in.person, sign_in.token), headers=NO_STORE)


@post(
    "/api/mitra/auth/otp/verify",
    operation_id="verify_mitra_code",
    tags=MITRA,
    status_code=200,
    responses=answers({200: MitraSignedIn}, *VERIFY_REFUSALS, NotInvited, Suspended),
)
async def verify_mitra_code(
    request: AnyRequest,
    data: JSONBody[CodeVerification],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
) -> Response[MitraSignedIn]:
    """Sign in with the code. Only a right code says that the mitra is not invited or suspended; this uses it up."""

    async def verify(tx: Transaction) -> SignIn | BusinessError:
        return await service.verify_mitra_code(
            tx, settings.secret_key, data.request_id, data.code, transport=data.transport
        )

    sign_in = await _sign_in(request, "mitra", data, verify, database, settings, authenticator)
    assert isinstance(sign_in.person, OwnMitra)
    if data.transport == "cookie":
        cookie = cookies.token_cookie("mitra", sign_in.token, service.TOKEN_VALID_SECONDS, settings)
        return Response(MitraSignedIn(sign_in.person), headers=NO_STORE, cookies=[cookie])
    return Response(MitraSignedIn(sign_in.person, sign_in.token), headers=NO_STORE)


async def _sign_in(
    request: AnyRequest,
    role: Role,
    data: CodeVerification,
    verify: Callable[[Transaction], Awaitable[SignIn | BusinessError]],
    database: Database,
    settings: Settings,
    authenticator: Authenticator,
) -> SignIn:
    """Verify the code, and revoke the token that came with the request, in one transaction. Raises the refusals."""
    if data.transport == "cookie":
        cookies.refuse_foreign_page(request.scope, settings)
    try:
        replaced = await _replaced_token(request, role, authenticator)
        async with database.transaction() as tx:
            outcome = await verify(tx)
            if replaced is not None and isinstance(outcome, SignIn):
                await service.sign_out(tx, replaced)
        if isinstance(outcome, BusinessError):
            # Raised after the commit, so that a wrong try stays counted.
            raise outcome
    except BusinessError as error:
        SIGN_INS.labels(role, error.code).inc()
        log.info(
            "accounts.sign_in_refused",
            role=role,
            reason=error.code,
            code_request_id=str(data.request_id),
        )
        raise
    if replaced is not None:
        authenticator.forget_token(replaced)
    SIGN_INS.labels(role, "signed_in").inc()
    log.info("accounts.signed_in", role=role, user_id=str(outcome.person.id))
    return outcome


async def _replaced_token(request: AnyRequest, role: Role, authenticator: Authenticator) -> bytes | None:
    """The token that the client was signed in with until now, if it was."""
    try:
        return (await authenticator.identify(role, request.scope)).token_digest
    except (Unauthenticated, Forbidden):
        return None


# Signing out ---------------------------------------------------------------------------------------------


@post(
    "/api/client/auth/logout",
    operation_id="sign_out_customer",
    tags=CUSTOMER,
    status_code=204,
    responses=answers({204: None}, *SIGN_OUT_REFUSALS),
)
async def sign_out_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
) -> Response[None]:
    """Revoke the token, and close its sockets."""
    return await _sign_out(request, "customer", database, settings, authenticator)


@post(
    "/api/mitra/auth/logout",
    operation_id="sign_out_mitra",
    tags=MITRA,
    status_code=204,
    responses=answers({204: None}, *SIGN_OUT_REFUSALS),
)
async def sign_out_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    authenticator: NamedDependency[Authenticator],
) -> Response[None]:
    """Revoke the token, and close its sockets. A suspended mitra may do this, too."""
    return await _sign_out(request, "mitra", database, settings, authenticator)


async def _sign_out(
    request: AnyRequest, role: Role, database: Database, settings: Settings, authenticator: Authenticator
) -> Response[None]:
    signed_in = await authenticator.identify(role, request.scope)
    async with database.transaction() as tx:
        await service.sign_out(tx, signed_in.token_digest)
    # This process would otherwise trust the token until the signal comes back.
    authenticator.forget_token(signed_in.token_digest)
    log.info("accounts.signed_out", role=role, user_id=str(signed_in.identity.user_id))
    expired = [cookies.token_cookie(role, "", 0, settings)] if signed_in.transport == "cookie" else []
    return Response(None, status_code=204, headers=NO_STORE, cookies=expired)


# Development ---------------------------------------------------------------------------------------------


@get(
    "/api/dev/inbox",
    operation_id="read_development_inbox",
    tags=["development"],
    responses=answers({200: Inbox}, ValidationFailed),
)
async def read_development_inbox(phone: FromQuery[str], database: NamedDependency[Database]) -> Inbox:
    """The messages that would have gone to this phone, newest first."""
    return Inbox(messages=await DevelopmentInbox(database).messages(normalise(phone)))


ROUTES: list[BaseRouteHandler] = [
    request_customer_code,
    verify_customer_code,
    sign_out_customer,
    request_mitra_code,
    verify_mitra_code,
    sign_out_mitra,
]
DEVELOPMENT_ROUTES: list[BaseRouteHandler] = [read_development_inbox]
