"""The HTTP endpoints for signing in and out and for devices, for both roles. The endpoints open the transactions."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from prometheus_client import Counter
from valkey.asyncio import Valkey

from curhat.accounts import cookies, service
from curhat.accounts.address_limit import address_of, count_in_hour, give_back
from curhat.accounts.code_sender import CodeSenders, DevelopmentInbox
from curhat.accounts.errors import CallNameRequired, CodeInvalid, CodeNotSent, NotInvited
from curhat.accounts.phone import normalise
from curhat.accounts.schemas import (
    CodeRequest,
    CodeRequested,
    CodeVerification,
    CustomerSignedIn,
    Devices,
    Inbox,
    MitraSignedIn,
    Transport,
)
from curhat.accounts.service import Authenticator, InheritBlocks, Person, SignedIn, SignIn, SigningDevice
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    Suspended,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.http import AnyRequest
from curhat.kit.identity import AnyRole, Identity, Role
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers
from curhat.kit.pause_points import pause_point
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

Body = TypeVar("Body", bound=msgspec.Struct)

# No cache is allowed to keep an answer with a token.
NO_STORE: Final = {"Cache-Control": "no-store"}

CODES_SENT: Final = Counter("curhat_accounts_codes_sent_total", "One-time codes sent.", ["role"])
SIGN_INS: Final = Counter(
    "curhat_accounts_sign_ins_total", "Tries to sign in with a code, by outcome.", ["role", "outcome"]
)

VERIFY_REFUSALS: Final = (CodeInvalid, ValidationFailed, TooManyRequests, Forbidden)


# An operation that needs a fresh code reads this header, and declares FreshCodeMissing and CodeInvalid.
FRESH_CODE_HEADER: Final = "x-fresh-code"


# One-time codes ------------------------------------------------------------------------------------------


def _code_request_route(role: Role, path: str, description: str) -> BaseRouteHandler:
    @post(
        path,
        operation_id=f"request_{role}_code",
        summary=f"Request{role.capitalize()}Code",
        tags=[role],
        status_code=202,
        description=description,
        responses=answers({202: CodeRequested}, ValidationFailed, TooManyRequests, CodeNotSent),
    )
    async def request_code(
        request: AnyRequest,
        data: JSONBody[CodeRequest],
        database: NamedDependency[Database],
        settings: NamedDependency[Settings],
        valkey_client: NamedDependency[Valkey],
        authenticator: NamedDependency[Authenticator],
        code_senders: NamedDependency[CodeSenders],
    ) -> CodeRequested:
        phone_number = normalise(data.phone, settings.phone_regions)
        address = address_of(request.scope)
        requester = await service.find_requester(
            database,
            settings.secret_key,
            phone_number,
            address=address,
            device_secret=data.device_secret or cookies.presented_device(request.scope, role, settings),
            signed_in=await _signed_in(request, role, authenticator),
        )
        if not requester.is_known_device:
            most = settings.address_codes_per_hour
            await count_in_hour(valkey_client, "codes", requester.digest, most, address=address)
        try:
            with code_senders.place():
                async with database.transaction() as tx:
                    sent = await service.request_code(
                        tx, settings.secret_key, role, phone_number, requester, settings.codes_per_day
                    )
                await pause_point("accounts.code_committed")
                sender = await code_senders.send(phone_number, sent.code, earlier_codes=sent.earlier_codes)
        except BusinessError:
            # No code was sent.
            if not requester.is_known_device:
                await give_back(valkey_client, "codes", requester.digest)
            raise
        CODES_SENT.labels(role).inc()
        log.info("accounts.code_sent", role=role, sender=sender, code_request_id=str(sent.request_id))
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
    valkey_client: NamedDependency[Valkey],
    authenticator: NamedDependency[Authenticator],
    inherit_blocks: NamedDependency[InheritBlocks],
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
        valkey_client,
        authenticator,
        inherit_blocks,
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
    valkey_client: NamedDependency[Valkey],
    authenticator: NamedDependency[Authenticator],
    inherit_blocks: NamedDependency[InheritBlocks],
) -> Response[MitraSignedIn]:
    """Sign in with the code. A right code is used up, even if the mitra is suspended or was never invited."""
    return await _sign_in(
        request,
        "mitra",
        data,
        service.verify_mitra_code,
        MitraSignedIn,
        database,
        settings,
        valkey_client,
        authenticator,
        inherit_blocks,
    )


async def _sign_in(
    request: AnyRequest,
    role: Role,
    data: CodeVerification,
    verify: Callable[
        [Transaction, bytes, CodeVerification, SigningDevice, InheritBlocks],
        Awaitable[SignIn[Person] | BusinessError],
    ],
    to_body: Callable[[Person], Body],
    database: Database,
    settings: Settings,
    valkey_client: Valkey,
    authenticator: Authenticator,
    inherit_blocks: InheritBlocks,
) -> Response[Body]:
    """In one transaction, verify the code and revoke the token that came with the request. Raises each refusal."""
    if data.transport == "cookie":
        cookies.refuse_foreign_page(request.scope, role, settings)
    device = SigningDevice(
        user_agent=request.headers.get("user-agent", ""),
        replaced_secret=data.device_secret or cookies.presented_device(request.scope, role, settings),
    )
    replaced = None
    try:
        replaced = await _signed_in(request, role, authenticator)
        async with database.transaction() as tx:
            outcome = await verify(tx, settings.secret_key, data, device, inherit_blocks)
            if replaced is not None and isinstance(outcome, SignIn):
                await service.sign_out(tx, replaced.token_digest)
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
        authenticator.forget_token(replaced.token_digest)
    if outcome.stranger is not None:
        await give_back(valkey_client, "codes", outcome.stranger)
    SIGN_INS.labels(role, "signed_in").inc()
    log.info("accounts.signed_in", role=role, user_id=str(outcome.person.id))
    return answer_sign_in(
        role,
        to_body(outcome.person),
        outcome.token,
        outcome.device_secret,
        data.transport,
        service.TOKEN_VALID_SECONDS,
        settings,
    )


async def _signed_in(request: AnyRequest, role: Role, authenticator: Authenticator) -> SignedIn | None:
    """Return the owner of the request's token, or None if the request has no valid token of this role."""
    with contextlib.suppress(Unauthenticated, Forbidden):
        return await authenticator.identify(role, request.scope)
    return None


def answer_sign_in(
    role: AnyRole,
    body: Body,
    token: str,
    device_secret: str,
    transport: Transport,
    max_age_seconds: int,
    settings: Settings,
) -> Response[Body]:
    """Answer with `body`, the new token and the device's new secret.

    `transport` says whether the token and the secret are in cookies or in the body.
    """
    if transport == "bearer":
        with_token = msgspec.structs.replace(body, token=token, device_secret=device_secret)
        return Response(with_token, headers=NO_STORE)
    sent = [
        *cookies.token_cookies(role, token, max_age_seconds, settings),
        *cookies.device_cookies(role, device_secret, service.KNOWN_DEVICE_SECONDS, settings),
    ]
    return Response(body, headers=NO_STORE, cookies=sent)


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
        # Without this call, this process would trust the token until the signal of the sign-out arrives.
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
    expired = cookies.token_cookies(role, "", 0, settings) if transport == "cookie" else []
    return Response(None, status_code=204, headers=NO_STORE, cookies=expired)


# Devices -------------------------------------------------------------------------------------------------


@get(
    "/api/client/devices",
    operation_id="list_customer_devices",
    tags=["customer"],
    responses=answers({200: Devices}, *SIGNED_IN),
)
async def list_customer_devices(
    request: AnyRequest, database: NamedDependency[Database], customer: NamedDependency[Identity]
) -> Devices:
    """The devices on which the customer is signed in, the most recently seen first."""
    return await _devices(request, database, customer)


@delete(
    "/api/client/devices/{device_id:uuid}",
    operation_id="revoke_customer_device",
    tags=["customer"],
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound),
)
async def revoke_customer_device(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    customer: NamedDependency[Identity],
    device_id: FromPath[UUID],
) -> None:
    """Sign out one device. The server revokes the device's token and closes its sockets."""
    await _sign_out_device(database, authenticator, customer, device_id)


@post(
    "/api/client/devices/sign-out-others",
    operation_id="revoke_other_customer_devices",
    tags=["customer"],
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN),
)
async def revoke_other_customer_devices(
    request: AnyRequest,
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    customer: NamedDependency[Identity],
) -> None:
    """Sign out every device of the customer except the device of this request."""
    await _sign_out_others(request, database, authenticator, customer)


@get(
    "/api/mitra/devices",
    operation_id="list_mitra_devices",
    tags=["mitra"],
    responses=answers({200: Devices}, *MITRA_SIGNED_IN),
)
async def list_mitra_devices(
    request: AnyRequest, database: NamedDependency[Database], mitra: NamedDependency[Identity]
) -> Devices:
    """The devices on which the mitra is signed in, the most recently seen first."""
    return await _devices(request, database, mitra)


@delete(
    "/api/mitra/devices/{device_id:uuid}",
    operation_id="revoke_mitra_device",
    tags=["mitra"],
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, NotFound),
)
async def revoke_mitra_device(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    mitra: NamedDependency[Identity],
    device_id: FromPath[UUID],
) -> None:
    """Sign out one device. The server revokes the device's token and closes its sockets."""
    await _sign_out_device(database, authenticator, mitra, device_id)


@post(
    "/api/mitra/devices/sign-out-others",
    operation_id="revoke_other_mitra_devices",
    tags=["mitra"],
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN),
)
async def revoke_other_mitra_devices(
    request: AnyRequest,
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    mitra: NamedDependency[Identity],
) -> None:
    """Sign out every device of the mitra except the device of this request."""
    await _sign_out_others(request, database, authenticator, mitra)


async def _devices(request: AnyRequest, database: Database, person: Identity) -> Devices:
    async with database.transaction() as tx:
        items = await service.list_devices(tx, person.role, person.user_id, request.state["token_digest"])
    return Devices(items=items)


async def _sign_out_device(
    database: Database, authenticator: Authenticator, person: Identity, device_id: UUID
) -> None:
    async with database.transaction() as tx:
        digest = await service.sign_out_device(tx, person.role, person.user_id, device_id)
    # Without this call, this process would trust the token until the signal of the sign-out arrives.
    authenticator.forget_token(digest)


async def _sign_out_others(
    request: AnyRequest, database: Database, authenticator: Authenticator, person: Identity
) -> None:
    async with database.transaction() as tx:
        digests = await service.sign_out_other_devices(
            tx, person.role, person.user_id, request.state["token_digest"]
        )
    for digest in digests:
        authenticator.forget_token(digest)


# Development ---------------------------------------------------------------------------------------------


@get(
    "/api/dev/inbox",
    operation_id="read_development_inbox",
    tags=["development"],
    responses=answers({200: Inbox}, ValidationFailed),
)
async def read_development_inbox(phone: FromQuery[str], database: NamedDependency[Database]) -> Inbox:
    """The text messages that a real sender would have sent to this phone number, newest first."""
    return Inbox(messages=await DevelopmentInbox(database).messages(normalise(phone, None)))


ROUTES: list[BaseRouteHandler] = [
    request_customer_code,
    verify_customer_code,
    sign_out_customer,
    request_mitra_code,
    verify_mitra_code,
    sign_out_mitra,
    list_customer_devices,
    revoke_customer_device,
    revoke_other_customer_devices,
    list_mitra_devices,
    revoke_mitra_device,
    revoke_other_mitra_devices,
]
DEVELOPMENT_ROUTES: list[BaseRouteHandler] = [read_development_inbox]
