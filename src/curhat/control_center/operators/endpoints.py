"""Signing in, the second factor, passwords, devices: HTTP in, service, HTTP out. Transactions are opened here."""

from typing import Any, Final
from uuid import UUID

import structlog
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from prometheus_client import Counter
from valkey.asyncio import Valkey

from curhat.accounts import cookies
from curhat.accounts.address_limit import address_of, count_password_try
from curhat.control_center.operators import passwords, service
from curhat.control_center.operators.errors import (
    CredentialsInvalid,
    NoEnrolmentBegun,
    TotpEnrolmentRequired,
    TotpRequired,
)
from curhat.control_center.operators.guards import OPEN, needs
from curhat.control_center.operators.schemas import (
    DeviceList,
    Login,
    OperatorAccount,
    OperatorSignedIn,
    PasswordChange,
    RecoveryCodes,
    TotpBeginning,
    TotpProof,
    TotpSecret,
)
from curhat.control_center.operators.service import Client, SignedInOperator, SignIn, Try
from curhat.kit.database import Database
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.openapi import SIGNED_IN, WITH_KEY, answers
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

AnyRequest = Request[Any, Any, Any]

OPERATORS: Final = ["operators"]
NO_STORE: Final = {"Cache-Control": "no-store"}

# What any operation of the Control Center may answer, and one with an Idempotency-Key besides.
OPERATOR_SIGNED_IN: Final = (*SIGNED_IN, TotpEnrolmentRequired)
OPERATOR_WITH_KEY: Final = (*WITH_KEY, TotpEnrolmentRequired)

SIGN_INS: Final = Counter(
    "curhat_operators_sign_ins_total", "Operators' tries to sign in, by how they ended.", ["outcome"]
)


@post(
    "/api/control-center/auth/login",
    operation_id="sign_in_operator",
    tags=OPERATORS,
    status_code=200,
    opt=OPEN,
    responses=answers(
        {200: OperatorSignedIn},
        CredentialsInvalid,
        TotpRequired,
        ValidationFailed,
        TooManyRequests,
        Forbidden,
    ),
)
async def sign_in_operator(
    request: AnyRequest,
    data: JSONBody[Login],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
) -> Response[OperatorSignedIn]:
    """Sign in with e-mail, password and the authenticator app's code. An unknown e-mail is answered no sooner."""
    if data.transport == "cookie":
        cookies.refuse_foreign_page(request.scope, settings)
    tried = await _try(request, database, settings, valkey_client, data.email)
    password_is_right = await passwords.is_right_in_thread(data.password, tried.password_hash)
    client = Client(request.headers.get("user-agent", ""), address_of(request.scope))
    replaced = await _signed_in_until_now(request, database, settings)
    async with database.transaction() as tx:
        outcome = await service.finish_sign_in(
            tx, settings.secret_key, tried, data, client, password_is_right=password_is_right
        )
        if replaced is not None and isinstance(outcome, SignIn):
            await service.sign_out(tx, replaced)
    if not isinstance(outcome, SignIn):
        SIGN_INS.labels(outcome.code).inc()
        log.info("operators.sign_in_refused", reason=outcome.code)
        raise outcome
    SIGN_INS.labels("signed_in").inc()
    log.info("operators.signed_in", operator_id=str(outcome.operator.id))
    if data.transport == "cookie":
        cookie = cookies.token_cookie("operator", outcome.token, service.TOKEN_SECONDS, settings)
        return Response(
            OperatorSignedIn(outcome.operator, outcome.totp_enrolled), headers=NO_STORE, cookies=[cookie]
        )
    return Response(
        OperatorSignedIn(outcome.operator, outcome.totp_enrolled, outcome.token), headers=NO_STORE
    )


@post(
    "/api/control-center/auth/logout",
    operation_id="sign_out_operator",
    tags=OPERATORS,
    status_code=204,
    opt=needs("own_account"),
    responses=answers({204: None}, *SIGNED_IN),
)
async def sign_out_operator(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> Response[None]:
    """Revoke the token that asks."""
    async with database.transaction() as tx:
        await service.sign_out(tx, operator)
    expired = [cookies.token_cookie("operator", "", 0, settings)] if operator.transport == "cookie" else []
    return Response(None, status_code=204, headers=NO_STORE, cookies=expired)


@get(
    "/api/control-center/auth/me",
    operation_id="get_operator_account",
    tags=OPERATORS,
    opt=needs("own_account"),
    responses=answers({200: OperatorAccount}, *SIGNED_IN),
)
async def get_operator_account(
    database: NamedDependency[Database], operator: NamedDependency[SignedInOperator]
) -> OperatorAccount:
    """Who I am, and what I may do."""
    async with database.transaction() as tx:
        return await service.account(tx, operator)


@post(
    "/api/control-center/auth/totp",
    operation_id="begin_totp",
    tags=OPERATORS,
    status_code=200,
    opt=needs("own_account"),
    responses=answers({200: TotpSecret}, *SIGNED_IN, CredentialsInvalid, TotpRequired, ValidationFailed),
)
async def begin_totp(
    request: AnyRequest,
    data: JSONBody[TotpBeginning],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
    operator: NamedDependency[SignedInOperator],
) -> TotpSecret:
    """Set up an authenticator app, or another one: a secret and its QR code, in force once a code is confirmed."""
    tried = await _checked_password(request, database, settings, valkey_client, operator, data.password)
    async with database.transaction() as tx:
        outcome = await service.begin_totp(tx, settings.secret_key, operator, data.totp, data.recovery_code)
        if isinstance(outcome, TotpSecret):
            await service.forget_tries(tx, tried)
    if isinstance(outcome, BusinessError):
        raise outcome
    return outcome


@post(
    "/api/control-center/auth/totp/confirm",
    operation_id="confirm_totp",
    tags=OPERATORS,
    status_code=200,
    opt=needs("own_account"),
    responses=answers(
        {200: RecoveryCodes}, *SIGNED_IN, CredentialsInvalid, NoEnrolmentBegun, ValidationFailed
    ),
)
async def confirm_totp(
    data: JSONBody[TotpProof],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> RecoveryCodes:
    """Show that the app has the secret. From then on signing in needs its codes; every other device is signed out."""
    async with database.transaction() as tx:
        return await service.confirm_totp(tx, settings.secret_key, operator, data.totp)


@post(
    "/api/control-center/auth/recovery-codes",
    operation_id="renew_recovery_codes",
    tags=OPERATORS,
    status_code=200,
    opt=needs("own_account"),
    responses=answers(
        {200: RecoveryCodes}, *SIGNED_IN, CredentialsInvalid, NoEnrolmentBegun, ValidationFailed
    ),
)
async def renew_recovery_codes(
    request: AnyRequest,
    data: JSONBody[TotpProof],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
    operator: NamedDependency[SignedInOperator],
) -> RecoveryCodes:
    """Ten new recovery codes, in the place of those of before."""
    tried = await _try(request, database, settings, valkey_client, operator.email)
    async with database.transaction() as tx:
        outcome = await service.renew_recovery_codes(tx, settings.secret_key, operator, data.totp)
        if isinstance(outcome, RecoveryCodes):
            await service.forget_tries(tx, tried)
    if isinstance(outcome, BusinessError):
        raise outcome
    return outcome


@post(
    "/api/control-center/auth/password",
    operation_id="change_operator_password",
    tags=OPERATORS,
    status_code=204,
    opt=needs("own_account"),
    responses=answers({204: None}, *SIGNED_IN, CredentialsInvalid, ValidationFailed),
)
async def change_operator_password(
    request: AnyRequest,
    data: JSONBody[PasswordChange],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    valkey_client: NamedDependency[Valkey],
    operator: NamedDependency[SignedInOperator],
) -> None:
    """Change the password; every other device is signed out."""
    tried = await _checked_password(request, database, settings, valkey_client, operator, data.password)
    new_hash = await passwords.hashed_in_thread(data.new_password, "new_password")
    async with database.transaction() as tx:
        await service.change_password(tx, operator, tried, new_hash)


@get(
    "/api/control-center/auth/devices",
    operation_id="list_operator_devices",
    tags=OPERATORS,
    opt=needs("own_account"),
    responses=answers({200: DeviceList}, *SIGNED_IN),
)
async def list_operator_devices(
    database: NamedDependency[Database], operator: NamedDependency[SignedInOperator]
) -> DeviceList:
    """Where I am signed in, the last seen first."""
    async with database.transaction() as tx:
        return await service.devices(tx, operator)


@delete(
    "/api/control-center/auth/devices/{device_id:uuid}",
    operation_id="revoke_operator_device",
    tags=OPERATORS,
    status_code=204,
    opt=needs("own_account"),
    responses=answers({204: None}, *SIGNED_IN, NotFound),
)
async def revoke_operator_device(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    device_id: FromPath[UUID],
) -> None:
    """Sign one of my devices out, at once."""
    async with database.transaction() as tx:
        await service.revoke_device(tx, operator, device_id)


async def _signed_in_until_now(
    request: AnyRequest, database: Database, settings: Settings
) -> SignedInOperator | None:
    """What the client was signed in with until now, which a new sign-in takes the place of."""
    try:
        return await service.identify(database, settings, request.scope)
    except (Unauthenticated, Forbidden):
        return None


async def _try(
    request: AnyRequest, database: Database, settings: Settings, valkey: Valkey, email: str
) -> Try:
    """Count a try, by address and by e-mail. Raises TooManyRequests."""
    await count_password_try(valkey, request.scope, settings.address_password_tries_per_hour)
    async with database.transaction() as tx:
        return await service.begin_sign_in(tx, settings.secret_key, email)


async def _checked_password(
    request: AnyRequest,
    database: Database,
    settings: Settings,
    valkey: Valkey,
    operator: SignedInOperator,
    password: str,
) -> Try:
    """The password once more, from who is signed in. Raises TooManyRequests, CredentialsInvalid."""
    tried = await _try(request, database, settings, valkey, operator.email)
    if not await passwords.is_right_in_thread(password, tried.password_hash):
        raise CredentialsInvalid
    return tried


ROUTES: list[BaseRouteHandler] = [
    sign_in_operator,
    sign_out_operator,
    get_operator_account,
    begin_totp,
    confirm_totp,
    renew_recovery_codes,
    change_operator_password,
    list_operator_devices,
    revoke_operator_device,
]
