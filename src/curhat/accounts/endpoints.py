"""The HTTP endpoints for signing in and out, for both roles. The endpoints open the transactions."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import structlog
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody
from prometheus_client import Counter
from valkey.asyncio import Valkey

from curhat.accounts import cookies, service
from curhat.accounts.address_limit import count_in_hour
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
    Transport,
)
from curhat.accounts.service import Authenticator, Person, SignIn
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
from curhat.kit.identity import AnyRole, Role
from curhat.kit.openapi import answers
from curhat.kit.pause_points import pause_point
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

Body = TypeVar("Body", bound=msgspec.Struct)

# No cache may keep an answer with a token.
NO_STORE: Final = {"Cache-Control": "no-store"}

CODES_SENT: Final = Counter("curhat_accounts_codes_sent_total", "One-time codes sent.", ["role"])
SIGN_INS: Final = Counter(
    "curhat_accounts_sign_ins_total", "Tries to sign in with a code, by outcome.", ["role", "outcome"]
)

VERIFY_REFUSALS: Final = (CodeInvalid, ValidationFailed, TooManyRequests, Forbidden)


# One-time codes ------------------------------------------------------------------------------------------


def _code_request_route(role: Role, path: str, description: str) -> BaseRouteHandler:
    @post(
        path,
        operation_id=f"request_{role}_code",
        summary=f"Request{role.capitalize()}Code",
        tags=[role],
        status_code=202,
        description=description,
        responses=answers({202: CodeRequested}, ValidationFailed, TooManyRequests),
    )
    async def request_code(
        request: AnyRequest,
        data: JSONBody[CodeRequest],
        database: NamedDependency[Database],
        settings: NamedDependency[Settings],
        valkey_client: NamedDependency[Valkey],
    ) -> CodeRequested:
        phone_number = normalise(data.phone)
        await count_in_hour(valkey_client, "codes", request.scope, settings.address_codes_per_hour)
        async with database.transaction() as tx:
            sent = await service.request_code(tx, settings.secret_key, role, phone_number)
        await pause_point("accounts.code_committed")
        await code_sender(settings, database).send(phone_number, code_text(sent.code), sent.code)
        CODES_SENT.labels(role).inc()
        log.info("accounts.code_sent", role=role, code_request_id=str(sent.request_id))
        return msgspec.convert(sent, CodeRequested, from_attributes=True)

    return request_code


request_customer_code = _code_request_route(
    "customer",
    "/api/client/auth/otp/request",
    "Send a one-time code to a phone. The answer does not tell whether the number is known.",
)
request_mitra_code = _code_request_route(
    "mitra",
    "/api/mitra/auth/otp/request",
    "Send a one-time code to a phone. The answer does not tell whether the number is invited.",
)


@post(
    "/api/client/auth/otp/verify",
    operation_id="verify_customer_code",
    tags=["customer"],
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
    """Sign in with the code. The first sign-in needs a `call_name`. If the name is missing, the code stays valid."""
    return await _sign_in(
        request,
        "customer",
        data,
        service.verify_customer_code,
        CustomerSignedIn,
        database,
        settings,
        authenticator,
    )


@post(
    "/api/mitra/auth/otp/verify",
    operation_id="verify_mitra_code",
    tags=["mitra"],
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
    """Sign in with the code. A right code is used up, even if the mitra is suspended or was never invited."""
    return await _sign_in(
        request, "mitra", data, service.verify_mitra_code, MitraSignedIn, database, settings, authenticator
    )


async def _sign_in(
    request: AnyRequest,
    role: Role,
    data: CodeVerification,
    verify: Callable[[Transaction, bytes, CodeVerification], Awaitable[SignIn[Person] | BusinessError]],
    to_body: Callable[[Person], Body],
    database: Database,
    settings: Settings,
    authenticator: Authenticator,
) -> Response[Body]:
    """In one transaction, verify the code and revoke the token that came with the request. Raises each refusal."""
    if data.transport == "cookie":
        cookies.refuse_foreign_page(request.scope, settings)
    replaced = None
    try:
        with contextlib.suppress(Unauthenticated, Forbidden):
            replaced = (await authenticator.identify(role, request.scope)).token_digest
        async with database.transaction() as tx:
            outcome = await verify(tx, settings.secret_key, data)
            if replaced is not None and isinstance(outcome, SignIn):
                await service.sign_out(tx, replaced)
        if isinstance(outcome, BusinessError):
            # Raise the error after the commit, so that a wrong try stays counted.
            raise outcome
    except BusinessError as error:
        SIGN_INS.labels(role, error.code).inc()
        log.info(
            "accounts.sign_in_refused", role=role, reason=error.code, code_request_id=str(data.request_id)
        )
        raise
    if replaced is not None:
        authenticator.forget_token(replaced)
    SIGN_INS.labels(role, "signed_in").inc()
    log.info("accounts.signed_in", role=role, user_id=str(outcome.person.id))
    return answer_sign_in(
        role, to_body(outcome.person), outcome.token, data.transport, service.TOKEN_VALID_SECONDS, settings
    )


def answer_sign_in(
    role: AnyRole, body: Body, token: str, transport: Transport, max_age_seconds: int, settings: Settings
) -> Response[Body]:
    """Answer with `body` and the new token. `transport` says whether a cookie or the body's `token` contains it."""
    if transport == "bearer":
        return Response(msgspec.structs.replace(body, token=token), headers=NO_STORE)
    cookie = cookies.token_cookie(role, token, max_age_seconds, settings)
    return Response(body, headers=NO_STORE, cookies=[cookie])


# Signing out ---------------------------------------------------------------------------------------------


def _sign_out_route(role: Role, path: str, description: str) -> BaseRouteHandler:
    @post(
        path,
        operation_id=f"sign_out_{role}",
        summary=f"SignOut{role.capitalize()}",
        tags=[role],
        status_code=204,
        description=description,
        responses=answers({204: None}, Unauthenticated, Forbidden, TooManyRequests),
    )
    async def sign_out(
        request: AnyRequest,
        database: NamedDependency[Database],
        settings: NamedDependency[Settings],
        authenticator: NamedDependency[Authenticator],
    ) -> Response[None]:
        signed_in = await authenticator.identify(role, request.scope)
        async with database.transaction() as tx:
            await service.sign_out(tx, signed_in.token_digest)
        # Without this call, this process would trust the token until it receives the signal.
        authenticator.forget_token(signed_in.token_digest)
        log.info("accounts.signed_out", role=role, user_id=str(signed_in.identity.user_id))
        return answer_sign_out(role, signed_in.transport, settings)

    return sign_out


sign_out_customer = _sign_out_route(
    "customer", "/api/client/auth/logout", "Revoke the token, and close its sockets."
)
sign_out_mitra = _sign_out_route(
    "mitra",
    "/api/mitra/auth/logout",
    "Revoke the token, and close its sockets. A suspended mitra may do this, too.",
)


def answer_sign_out(role: AnyRole, transport: Transport, settings: Settings) -> Response[None]:
    """Answer with an empty body. If the token came in a cookie, make the browser delete that cookie."""
    expired = [cookies.token_cookie(role, "", 0, settings)] if transport == "cookie" else []
    return Response(None, status_code=204, headers=NO_STORE, cookies=expired)


# Development ---------------------------------------------------------------------------------------------


@get(
    "/api/dev/inbox",
    operation_id="read_development_inbox",
    tags=["development"],
    responses=answers({200: Inbox}, ValidationFailed),
)
async def read_development_inbox(phone: FromQuery[str], database: NamedDependency[Database]) -> Inbox:
    """The text messages that a real sender would have sent to this phone number, newest first."""
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
