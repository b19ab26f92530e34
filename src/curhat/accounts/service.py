"""Signing in and out, names, invitation, suspension; and the answer to "whose token is this".

Functions that take a transaction never commit it.
"""

import asyncio
import contextlib
import hashlib
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from curhat.accounts import codes, cookies, phone
from curhat.accounts.cookies import ReadScope
from curhat.accounts.errors import CallNameRequired, CodeInvalid, NotInvited
from curhat.accounts.names import checked_name
from curhat.accounts.schemas import CustomerAccount, OwnCustomer, OwnMitra, SocketsToClose, Transport
from curhat.kit.audit import AuditAction
from curhat.kit.database import DATABASE_AWAY, Database, Transaction, load_queries
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    Suspended,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.identity import Identity, Role
from curhat.kit.settings import Settings
from curhat.kit.signals import Signals
from curhat.realtime import protocol
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.hub import Hub

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# The signal that closes sockets, and takes tokens out of every process's memory.
SIGNAL: Final = "sockets"

TOKEN_BYTES: Final = 32
TOKEN_SECONDS: Final = 30 * 24 * 3600
# For how long a process may believe what it has read of a token: bounds what a lost signal costs.
REMEMBERED_SECONDS: Final = 3.0
# How often the tokens in use are asked about anew, all together: whoever goes on working never waits for a look-up.
RENEW_SECONDS: Final = 1.0
# Tokens of one such question: bounds how long it takes.
RENEW_BATCH: Final = 500
# Bounds memory, about 400 bytes each.
REMEMBERED_TOKENS: Final = 50_000
# As the table of mitras has it.
MOST_CUSTOMERS: Final = 20
# Bounds how long one pruning holds its locks.
PRUNE_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class SentCode:
    """A code that is to be sent once the transaction is committed."""

    request_id: UUID
    phone_number: str = field(repr=False)
    code: str = field(repr=False)
    expires_at: datetime
    resend_after: datetime
    server_now: datetime


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somebody who has shown that the phone is theirs, and their new token."""

    person: OwnCustomer | OwnMitra
    token: str = field(repr=False)


class Invited(msgspec.Struct, frozen=True):
    """A mitra, and whether this invitation made them one."""

    mitra_id: UUID
    is_new: bool


class SignedIn(msgspec.Struct, frozen=True):
    """Whose token it is, and how it may be presented. A suspended mitra may still sign out."""

    identity: Identity
    token_digest: bytes
    transport: Transport
    is_suspended: bool


# One-time codes ------------------------------------------------------------------------------------------


async def request_code(tx: Transaction, secret_key: bytes, role: Role, phone_number: str) -> SentCode:
    """A new code for an E.164 number, whoever that is. Raises TooManyRequests with the time to wait."""
    await tx.execute(SQL.lock_phone, phone_number)
    row = await tx.fetchrow(SQL.next_code, phone_number, codes.UNUSED_CODES_AN_HOUR, codes.CODES_AN_HOUR)
    assert row is not None  # The statement always gives one row.
    _refuse_while_waiting(row["wait_seconds"])
    request_id: UUID = row["id"]
    code = codes.new_code()
    times = await tx.fetchrow(
        SQL.insert_code,
        request_id,
        role,
        phone_number,
        codes.digest_of(secret_key, request_id, code),
        codes.RESEND_SECONDS,
        codes.VALID_SECONDS,
    )
    assert times is not None
    return SentCode(
        request_id=request_id,
        phone_number=phone_number,
        code=code,
        expires_at=times["expires_at"],
        resend_after=times["resend_after"],
        server_now=times["created_at"],
    )


async def verify_customer_code(
    tx: Transaction,
    secret_key: bytes,
    request_id: UUID,
    code: str,
    *,
    call_name: str | None = None,
    transport: Transport = "bearer",
) -> SignIn | BusinessError:
    """live → used, and the customer is signed in, made on the first time with `call_name`.

    A refusal that the database must remember (a try that was wrong) is returned, to be raised after the commit.
    Raises CodeInvalid, TooManyRequests, ValidationFailed, and CallNameRequired, which leaves the code as it is.
    """
    name = None if call_name is None else checked_name(call_name, "call_name")
    phone_number = await _phone_shown_by(tx, secret_key, "customer", request_id, code)
    if phone_number is None:
        return CodeInvalid()
    row = await tx.fetchrow(SQL.customer_of_phone, phone_number)
    if row is not None:
        customer = OwnCustomer(id=row["id"], call_name=row["call_name"])
    elif name is None:
        raise CallNameRequired
    else:
        customer = OwnCustomer(id=await tx.fetchval(SQL.ensure_person, phone_number), call_name=name)
        await tx.execute(SQL.insert_customer, customer.id, customer.call_name)
    await tx.execute(SQL.use_code, request_id)
    return SignIn(customer, await _new_token(tx, "customer", customer.id, transport))


async def verify_mitra_code(
    tx: Transaction, secret_key: bytes, request_id: UUID, code: str, *, transport: Transport = "bearer"
) -> SignIn | BusinessError:
    """live → used, and the mitra is signed in.

    A refusal that the database must remember is returned, to be raised after the commit: a try that was wrong, and
    NotInvited and Suspended, which nobody learns without a good code, and which use it up.
    Raises CodeInvalid, TooManyRequests.
    """
    phone_number = await _phone_shown_by(tx, secret_key, "mitra", request_id, code)
    if phone_number is None:
        return CodeInvalid()
    await tx.execute(SQL.use_code, request_id)
    row = await tx.fetchrow(SQL.mitra_of_phone, phone_number)
    if row is None:
        return NotInvited()
    if row["suspended"]:
        return Suspended()
    mitra = OwnMitra(id=row["id"], display_name=row["display_name"])
    return SignIn(mitra, await _new_token(tx, "mitra", mitra.id, transport))


async def _phone_shown_by(
    tx: Transaction, secret_key: bytes, role: Role, request_id: UUID, code: str
) -> str | None:
    """The phone that a good code proves; None when the code is wrong, which is noted.

    Raises CodeInvalid for a code that nobody can use, TooManyRequests.
    """
    if await tx.fetchrow(SQL.lock_phone_of_code, request_id, role) is None:
        raise CodeInvalid
    row = await tx.fetchrow(
        SQL.code_to_verify,
        request_id,
        codes.TRIES_A_CODE,
        codes.WRONG_TRIES_AN_HOUR,
        codes.VALID_SECONDS,
    )
    if row is None or not row["is_live"]:
        raise CodeInvalid
    # Also when the code is right: otherwise the answer would tell.
    _refuse_while_waiting(row["wait_seconds"])
    if not codes.is_right(secret_key, request_id, code, row["code_digest"]):
        await tx.execute(SQL.note_wrong_try, request_id)
        return None
    phone_number: str = row["phone_number"]
    return phone_number


def _refuse_while_waiting(wait_seconds: float | None) -> None:
    if wait_seconds is not None and wait_seconds > 0:
        raise TooManyRequests(retry_after_seconds=math.ceil(wait_seconds))


# Tokens --------------------------------------------------------------------------------------------------


def digest_of_token(token: str) -> bytes:
    """What is stored of a token. A plain hash is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()


async def _new_token(tx: Transaction, role: Role, user_id: UUID, transport: Transport) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await tx.execute(SQL.insert_token, digest_of_token(token), role, user_id, transport, TOKEN_SECONDS)
    return token


async def sign_out(tx: Transaction, token_digest: bytes) -> None:
    """good → revoked, everywhere: its sockets are closed. Repeated, nothing happens."""
    if await tx.fetchval(SQL.revoke_token, token_digest) is not None:
        _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, token_digest=token_digest.hex()))


def _signal(tx: Transaction, sockets: SocketsToClose) -> None:
    tx.signal(SIGNAL, msgspec.json.encode(sockets))


async def prune(tx: Transaction, limit: int = PRUNE_LIMIT) -> None:
    """Forget codes of more than 24 h, and tokens that have been good for nobody for a week."""
    await tx.execute(SQL.prune_codes, limit)
    await tx.execute(SQL.prune_tokens, limit)


# People --------------------------------------------------------------------------------------------------


async def customer_profile(tx: Transaction, customer_id: UUID) -> CustomerAccount:
    """What a customer may see of their own account. Raises NotFound."""
    row = await tx.fetchrow(SQL.customer_account, customer_id)
    if row is None:
        raise NotFound
    return CustomerAccount(
        id=row["id"], call_name=row["call_name"], phone_masked=phone.mask(row["phone_number"])
    )


async def rename_customer(tx: Transaction, customer_id: UUID, call_name: str) -> None:
    """One call name → another. Raises ValidationFailed, NotFound."""
    if await tx.fetchval(SQL.rename_customer, customer_id, checked_name(call_name, "call_name")) is None:
        raise NotFound


async def invite_mitra(
    tx: Transaction, phone_number: str, display_name: str, max_customers: int, *, by: str = "command line"
) -> Invited:
    """nobody or customer → mitra too. A mitra who is invited again stays as they are.

    `by` is who invites, as the audit names them. Raises ValidationFailed.
    """
    name = checked_name(display_name, "display_name")
    _check_capacity(max_customers)
    mitra_id: UUID = await tx.fetchval(SQL.ensure_person, phone.normalise(phone_number))
    is_new = await tx.fetchval(SQL.insert_mitra, mitra_id, name, max_customers) is not None
    if is_new:
        await _audit(tx, by, "mitra_invited", mitra_id, None, name)
    return Invited(mitra_id, is_new)


async def rename_mitra(tx: Transaction, mitra_id: UUID, display_name: str, *, by: str) -> None:
    """One display name → another. The same one again changes nothing. Raises ValidationFailed, NotFound."""
    name = checked_name(display_name, "display_name")
    row = await _locked_mitra(tx, mitra_id)
    if row["display_name"] == name:
        return
    await tx.execute(SQL.rename_mitra, mitra_id, name)
    await _audit(tx, by, "mitra_renamed", mitra_id, row["display_name"], name)


async def change_capacity(tx: Transaction, mitra_id: UUID, max_customers: int, *, by: str) -> bool:
    """One capacity → another (X.7); the answer is whether the mitra is full by it. Sessions it has go on.

    The same one again changes nothing. Raises ValidationFailed, NotFound.
    """
    _check_capacity(max_customers)
    row = await _locked_mitra(tx, mitra_id)
    before: int = row["max_customers"]
    if before != max_customers:
        await tx.execute(SQL.change_capacity, mitra_id, max_customers)
        await _audit(tx, by, "mitra_capacity_changed", mitra_id, str(before), str(max_customers))
        _signal_mitra_changed(tx, mitra_id)
    is_full: bool = row["active_sessions"] >= max_customers
    return is_full


def _check_capacity(max_customers: int) -> None:
    if not 1 <= max_customers <= MOST_CUSTOMERS:
        raise ValidationFailed(
            errors=[{"field": "max_customers", "message": f"must be from 1 to {MOST_CUSTOMERS}"}]
        )


async def suspend_mitra(tx: Transaction, mitra_id: UUID, *, by: str = "command line") -> bool:
    """admitted → suspended: sockets close and every token is refused until it is lifted. Raises NotFound.

    Withdrawing requests and ending sessions is journeys' part of it. Repeated, nothing happens; then it answers False.
    """
    if await _is_suspended(tx, mitra_id):
        return False
    await tx.execute(SQL.suspend_mitra, mitra_id)
    await _audit(tx, by, "mitra_suspended", mitra_id, "admitted", "suspended")
    _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, role="mitra", user_id=mitra_id))
    _signal_mitra_changed(tx, mitra_id)
    return True


async def lift_suspension(tx: Transaction, mitra_id: UUID, *, by: str = "command line") -> None:
    """suspended → admitted; tokens of before are good again within 3 s. Repeated, nothing happens. Raises NotFound."""
    if not await _is_suspended(tx, mitra_id):
        return
    await tx.execute(SQL.lift_suspension, mitra_id)
    await _audit(tx, by, "mitra_suspension_lifted", mitra_id, "suspended", "admitted")
    _signal_mitra_changed(tx, mitra_id)


async def _is_suspended(tx: Transaction, mitra_id: UUID) -> bool:
    return (await _locked_mitra(tx, mitra_id))["suspended_at"] is not None


async def _locked_mitra(tx: Transaction, mitra_id: UUID) -> asyncpg.Record:
    row = await tx.fetchrow(SQL.lock_mitra, mitra_id)
    if row is None:
        raise NotFound
    return row


async def _audit(
    tx: Transaction, by: str, action: AuditAction, mitra_id: UUID, old: str | None, new: str
) -> None:
    await tx.execute(SQL.audit, by, action, mitra_id, old, new)


def _signal_mitra_changed(tx: Transaction, mitra_id: UUID) -> None:
    tx.signal("mitra_changed", msgspec.json.encode([mitra_id]))


# Whose token is this -------------------------------------------------------------------------------------


class Authenticator:
    """Knows whose token it is, and believes for 3 s what PostgreSQL said of it. One a process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        # By digest, with the time until which it is believed; oldest first.
        self._remembered: dict[bytes, tuple[float, SignedIn]] = {}
        # Those that came with a request since PostgreSQL was last asked about them.
        self._used: set[bytes] = set()

    def listen(self, signals: Signals, hub: Hub) -> None:
        """Have sign-outs and suspensions take effect here at once. Before `signals.run`."""

        def sockets_to_close(payload: bytes) -> None:
            sockets = self.forget(payload)
            if sockets.token_digest is not None:
                hub.close_token(bytes.fromhex(sockets.token_digest), sockets.code)
            if sockets.role is not None and sockets.user_id is not None:
                hub.close_user(sockets.role, sockets.user_id, sockets.code)

        signals.handle(SIGNAL, sockets_to_close)

    async def authenticate(self, token: str) -> SignedIn | None:
        """Whose good token this is; None: nobody's. What it says is at most 3 s old."""
        digest = digest_of_token(token)
        now = time.monotonic()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[0] > now:
            self._used.add(digest)
            return remembered[1]
        row = await self._database.fetchrow(SQL.token, [digest])
        self._remembered.pop(digest, None)
        if row is None:
            # Not remembered: whoever sends made-up tokens must not fill the memory.
            return None
        signed_in = _signed_in(row)
        self._used.add(digest)
        if len(self._remembered) >= REMEMBERED_TOKENS:
            del self._remembered[next(iter(self._remembered))]
        # Counted from before the question: what was revoked after it is not believed for longer.
        self._remembered[digest] = (now + REMEMBERED_SECONDS, signed_in)
        return signed_in

    async def run(self) -> None:
        """Renew what is believed of the tokens in use, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew()
            except DATABASE_AWAY as error:
                # Each is asked about on its own once it is not believed any more.
                log.warning("accounts.tokens_not_renewed", error=type(error).__name__)

    async def renew(self) -> None:
        """Ask anew about the tokens in use that are not believed for much longer: one question for many."""
        now = time.monotonic()
        due = [
            digest
            for digest in self._used
            if digest not in self._remembered or self._remembered[digest][0] < now + 2 * RENEW_SECONDS
        ]
        self._used.difference_update(due)
        for start in range(0, len(due), RENEW_BATCH):
            asked_at = time.monotonic()
            # One that is not believed any more is asked about when it comes again.
            batch = [
                digest for digest in due[start : start + RENEW_BATCH] if self._believes(digest, asked_at)
            ]
            if not batch:
                continue
            found = {row["digest"]: row for row in await self._database.fetch(SQL.token, batch)}
            for digest in batch:
                # Forgotten meanwhile: a sign-out that this answer may be older than.
                if digest not in self._remembered:
                    continue
                if digest in found:
                    self._remembered[digest] = (asked_at + REMEMBERED_SECONDS, _signed_in(found[digest]))
                else:
                    self.forget_token(digest)

    def _believes(self, digest: bytes, now: float) -> bool:
        remembered = self._remembered.get(digest)
        return remembered is not None and remembered[0] > now

    async def identify(self, role: Role, scope: ReadScope) -> SignedIn:
        """Who sends this HTTP request or opens this socket, by bearer header or by cookie; may be suspended.

        Raises Unauthenticated; Forbidden for a token of the other role, and for a cookie that a page of somebody
        else may have made the browser send.
        """
        presented = cookies.presented_token(scope, role, self._settings)
        signed_in = None if presented is None else await self.authenticate(presented.token)
        if presented is None or signed_in is None or signed_in.transport != presented.transport:
            raise Unauthenticated
        if signed_in.identity.role != role:
            raise Forbidden
        return signed_in

    async def socket_identity(self, role: Role, scope: ReadScope) -> SocketIdentity | None:
        """Who opens this socket, by bearer header or cookie; None: nobody that may."""
        with contextlib.suppress(Unauthenticated, Forbidden):
            signed_in = await self.identify(role, scope)
            if not signed_in.is_suspended:
                return SocketIdentity(identity=signed_in.identity, token_digest=signed_in.token_digest)
        return None

    async def signed_out(self, held: Sequence[SocketIdentity]) -> set[bytes]:
        """Which of these tokens no longer admit their owner: revoked, expired, or the owner is suspended."""
        digests = {who.token_digest for who in held}
        rows = await self._database.fetch(SQL.good_tokens, list(digests))
        return digests - {row["digest"] for row in rows}

    def forget(self, payload: bytes) -> SocketsToClose:
        """Take what a signal on `sockets` is about out of memory."""
        sockets = msgspec.json.decode(payload, type=SocketsToClose)
        if sockets.token_digest is not None:
            self.forget_token(bytes.fromhex(sockets.token_digest))
        if sockets.user_id is not None:
            # Looks at all: suspensions are rare, and an index would cost every request.
            gone = [
                digest
                for digest, (_, signed_in) in self._remembered.items()
                if signed_in.identity.user_id == sockets.user_id and signed_in.identity.role == sockets.role
            ]
            for digest in gone:
                self.forget_token(digest)
        return sockets

    def forget_token(self, token_digest: bytes) -> None:
        """Take one token out of memory: this process asks PostgreSQL about it anew."""
        self._remembered.pop(token_digest, None)


def _signed_in(row: asyncpg.Record) -> SignedIn:
    return SignedIn(
        identity=Identity(role=row["role"], user_id=row["user_id"]),
        token_digest=row["digest"],
        transport=row["transport"],
        is_suspended=row["suspended"],
    )
