"""The operators' endpoints: sign-in, second factor, passwords and devices. The endpoints open the transactions."""

import contextlib
from typing import Final
from uuid import UUID

import structlog
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from prometheus_client import Counter
from valkey.asyncio import Valkey

from curhat.accounts import cookies
from curhat.accounts.address_limit import address_of, count_in_hour
from curhat.accounts.endpoints import answer_sign_in, answer_sign_out
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
from curhat.control_center.operators.service import SignedInOperator, SignInTry
from curhat.kit.database import Database
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.http import AnyRequest
from curhat.kit.openapi import SIGNED_IN, WITH_KEY, answers
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

OPERATORS: Final = ["operators"]

# The refusals that every operation of the Control Center declares. The second tuple is for the operations with an
# Idempotency-Key.
OPERATOR_SIGNED_IN: Final = (*SIGNED_IN, TotpEnrolmentRequired)
OPERATOR_WITH_KEY: Final = (*WITH_KEY, TotpEnrolmentRequired)

SIGN_INS: Final = Counter(
    "curhat_operators_sign_ins_total", "Operators' tries to sign in, by outcome.", ["outcome"]
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
    """Sign in with e-mail, password and authenticator code. An unknown e-mail takes as long as a known e-mail."""
    if data.transport == "cookie":
        cookies.refuse_foreign_page(request.scope, settings)
    tried = await _count_try(request, database, settings, valkey_client, data.email)
    password_is_right = await passwords.is_right_in_thread(data.password, tried.password_hash)
    replaced = None
    with contextlib.suppress(Unauthenticated, Forbidden):
        replaced = await service.identify(database, settings, request.scope)
    try:
        async with database.transaction() as tx:
            signed_in, token = await service.finish_sign_in(
                tx,
                settings.secret_key,
                tried,
                data,
                password_is_right=password_is_right,
                user_agent=request.headers.get("user-agent", ""),
                address=address_of(request.scope),
            )
            if replaced is not None:
                await service.sign_out(tx, replaced)
    except BusinessError as refusal:
        SIGN_INS.labels(refusal.code).inc()
        log.info("operators.sign_in_refused", reason=refusal.code)
        raise
    SIGN_INS.labels("signed_in").inc()
    log.info("operators.signed_in", operator_id=str(signed_in.operator.id))
    return answer_sign_in(
        "operator", signed_in, token, data.transport, service.TOKEN_LIFETIME_SECONDS, settings
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
    """Revoke the token in this request."""
    async with database.transaction() as tx:
        await service.sign_out(tx, operator)
    return answer_sign_out("operator", operator.transport, settings)


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
    """The operator's own account: identity, permissions and second factor."""
    async with database.transaction() as tx:
        return await service.read_account(tx, operator)


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
    """Begin to set up an authenticator app. The app's secret becomes valid when the operator confirms a code."""
    tried = await _check_password(request, database, settings, valkey_client, operator, data.password)
    async with database.transaction() as tx:
        return await service.begin_totp(tx, settings.secret_key, operator, tried, data)


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
    """Prove that the app has the secret. From then on, a sign-in needs the app's code.

    Every other device is signed out.
    """
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
    """Replace the recovery codes with ten new codes."""
    tried = await _count_try(request, database, settings, valkey_client, operator.email)
    async with database.transaction() as tx:
        return await service.renew_recovery_codes(tx, settings.secret_key, operator, tried, data.totp)


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
    """Change the password. Every other device is signed out."""
    tried = await _check_password(request, database, settings, valkey_client, operator, data.password)
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
    """The devices on which the operator is signed in, the most recently seen first."""
    async with database.transaction() as tx:
        return await service.list_devices(tx, operator)


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
    """Sign out one of the operator's devices. This takes effect immediately."""
    async with database.transaction() as tx:
        await service.revoke_device(tx, operator, device_id)


async def _count_try(
    request: AnyRequest, database: Database, settings: Settings, valkey: Valkey, email: str
) -> SignInTry:
    """Count one password try, per network address and per e-mail. Raises TooManyRequests after too many tries."""
    await count_in_hour(valkey, "passwords", request.scope, settings.address_password_tries_per_hour)
    async with database.transaction() as tx:
        return await service.begin_sign_in(tx, settings.secret_key, email)


async def _check_password(
    request: AnyRequest,
    database: Database,
    settings: Settings,
    valkey: Valkey,
    operator: SignedInOperator,
    password: str,
) -> SignInTry:
    """Check the password of an operator who is already signed in. Raises TooManyRequests, CredentialsInvalid."""
    tried = await _count_try(request, database, settings, valkey, operator.email)
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
