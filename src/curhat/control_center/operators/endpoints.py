"""The operators' endpoints: sign-in, second factor, passwords and devices. The endpoints open the transactions."""

import contextlib
from typing import Final, TypeVar
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
    PasswordChangeRequired,
    TotpEnrolmentRequired,
    TotpRequired,
)
from curhat.control_center.operators.guards import BEFORE_PASSWORD_CHANGE, OPEN, needs
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
from curhat.control_center.operators.throttle import Attempt
from curhat.kit.database import Database
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
    invalid_field,
)
from curhat.kit.http import AnyRequest
from curhat.kit.openapi import SIGNED_IN, WITH_KEY, answers
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

Outcome = TypeVar("Outcome")

OPERATORS: Final = ["operators"]

# The refusals that every operation of the Control Center declares. Operations with an Idempotency-Key declare
# OPERATOR_WITH_KEY.
OPERATOR_SIGNED_IN: Final = (*SIGNED_IN, TotpEnrolmentRequired, PasswordChangeRequired)
OPERATOR_WITH_KEY: Final = (*WITH_KEY, TotpEnrolmentRequired, PasswordChangeRequired)
# An operator needs no second factor for the operations of the operator's own account.
OWN_ACCOUNT: Final = (*SIGNED_IN, PasswordChangeRequired)

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
        cookies.refuse_foreign_page(request.scope, "operator", settings)
    address = address_of(request.scope)
    device_secret = data.device_secret or cookies.presented_device(request.scope, "operator", settings)
    replaced = None
    with contextlib.suppress(Unauthenticated, Forbidden):
        replaced = await service.identify(database, settings, request.scope)
    try:
        async with database.transaction() as tx:
            attempt = await service.find_requester(
                tx, settings.secret_key, data.email, address=address, device_secret=device_secret
            )
        if not attempt.requester.is_known_device:
            most = settings.address_password_tries_per_hour
            stranger = attempt.requester.digest
            await count_in_hour(valkey_client, "passwords", stranger, most, address=address)
        tried = await _compare_password(database, attempt, data.email, data.password)
        async with database.transaction() as tx:
            outcome = await service.finish_sign_in(
                tx,
                settings.secret_key,
                tried,
                data,
                user_agent=request.headers.get("user-agent", ""),
                address=address,
                replaced_device_secret=device_secret,
            )
            if replaced is not None and isinstance(outcome, tuple):
                await service.sign_out(tx, replaced)
        signed_in, token, new_device_secret = _raise_refusal(outcome)
    except BusinessError as refusal:
        SIGN_INS.labels(refusal.code).inc()
        log.info("operators.sign_in_refused", reason=refusal.code)
        raise
    SIGN_INS.labels("signed_in").inc()
    log.info("operators.signed_in", operator_id=str(signed_in.operator.id))
    return answer_sign_in(
        "operator",
        signed_in,
        token,
        new_device_secret,
        data.transport,
        service.TOKEN_LIFETIME_SECONDS,
        settings,
    )


@post(
    "/api/control-center/auth/logout",
    operation_id="sign_out_operator",
    tags=OPERATORS,
    status_code=204,
    opt=BEFORE_PASSWORD_CHANGE,
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
    responses=answers({200: OperatorAccount}, *OWN_ACCOUNT),
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
    responses=answers({200: TotpSecret}, *OWN_ACCOUNT, CredentialsInvalid, TotpRequired, ValidationFailed),
)
async def begin_totp(
    data: JSONBody[TotpBeginning],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> TotpSecret:
    """Begin to set up an authenticator app. The app's secret becomes valid when the operator confirms a code."""
    tried = await _check_password(database, settings, operator, data.password)
    async with database.transaction() as tx:
        outcome = await service.begin_totp(tx, settings.secret_key, operator, tried, data)
    return _raise_refusal(outcome)


@post(
    "/api/control-center/auth/totp/confirm",
    operation_id="confirm_totp",
    tags=OPERATORS,
    status_code=200,
    opt=needs("own_account"),
    responses=answers(
        {200: RecoveryCodes}, *OWN_ACCOUNT, CredentialsInvalid, NoEnrolmentBegun, ValidationFailed
    ),
)
async def confirm_totp(
    data: JSONBody[TotpProof],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> RecoveryCodes:
    """Prove that the app has the secret. After this proof, a sign-in needs the app's code.

    The server signs out the operator's other devices.
    """
    async with database.transaction() as tx:
        outcome = await service.confirm_totp(tx, settings.secret_key, operator, data.totp)
    return _raise_refusal(outcome)


@post(
    "/api/control-center/auth/recovery-codes",
    operation_id="renew_recovery_codes",
    tags=OPERATORS,
    status_code=200,
    opt=needs("own_account"),
    responses=answers(
        {200: RecoveryCodes}, *OWN_ACCOUNT, CredentialsInvalid, NoEnrolmentBegun, ValidationFailed
    ),
)
async def renew_recovery_codes(
    data: JSONBody[TotpProof],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> RecoveryCodes:
    """Replace the recovery codes with ten new codes."""
    async with database.transaction() as tx:
        outcome = await service.renew_recovery_codes(tx, settings.secret_key, operator, data.totp)
    return _raise_refusal(outcome)


@post(
    "/api/control-center/auth/password",
    operation_id="change_operator_password",
    tags=OPERATORS,
    status_code=204,
    opt=BEFORE_PASSWORD_CHANGE,
    responses=answers({204: None}, *SIGNED_IN, CredentialsInvalid, ValidationFailed),
)
async def change_operator_password(
    data: JSONBody[PasswordChange],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> None:
    """Change the password. The server signs out the operator's other devices.

    Wrong passwords of other people never delay a password change.
    """
    tried = await _check_password(database, settings, operator, data.password)
    if data.new_password == data.password:
        raise invalid_field("new_password", "must not be the password that you have now")
    new_hash = await passwords.OPERATORS_HASHES.hashed(data.new_password, operator.email, "new_password")
    async with database.transaction() as tx:
        await service.change_password(tx, operator, tried, new_hash)


@get(
    "/api/control-center/auth/devices",
    operation_id="list_operator_devices",
    tags=OPERATORS,
    opt=needs("own_account"),
    responses=answers({200: DeviceList}, *OWN_ACCOUNT),
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
    responses=answers({204: None}, *OWN_ACCOUNT, NotFound),
)
async def revoke_operator_device(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    device_id: FromPath[UUID],
) -> None:
    """Sign out one of the operator's devices. The sign-out takes effect immediately."""
    async with database.transaction() as tx:
        await service.revoke_device(tx, operator, device_id)


async def _compare_password(database: Database, attempt: Attempt, email: str, password: str) -> SignInTry:
    """Count a password try, and check the password. A right password stays counted until `accept_password`.

    Raises TooManyRequests, CredentialsInvalid.
    """
    is_known = attempt.requester.is_known_device
    hashes = passwords.OPERATORS_HASHES if is_known else passwords.STRANGERS_HASHES
    # Reserve the place before the try is counted, so that a refused try does not count as wrong.
    with hashes.admit_check():
        async with database.transaction() as tx:
            tried = await service.begin_password_check(tx, attempt, email)
        if not await hashes.is_right(password, tried.password_hash):
            raise CredentialsInvalid
    return tried


async def _check_password(
    database: Database, settings: Settings, operator: SignedInOperator, password: str
) -> SignInTry:
    """Check the password of an operator who is already signed in. Raises TooManyRequests, CredentialsInvalid."""
    attempt = service.attempt_of(settings.secret_key, operator)
    tried = await _compare_password(database, attempt, operator.email, password)
    async with database.transaction() as tx:
        await service.accept_password(tx, tried)
    return tried


def _raise_refusal(outcome: Outcome | BusinessError) -> Outcome:
    """Raise a refusal after the commit, so that a wrong try stays counted."""
    if isinstance(outcome, BusinessError):
        raise outcome
    return outcome


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
