"""Sign-in, sign-out, names, invitation, suspension, and the search for a token's owner.

Functions that take a transaction never commit it.
"""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Counter

from curhat.accounts import codes, cookies, erased_phones, phone, queries, requesters
from curhat.accounts.cookies import ReadScope
from curhat.accounts.delays import refuse_while_waiting, remaining
from curhat.accounts.errors import CallNameRequired, CodeInvalid, CodeNotSent, FreshCodeMissing, NotInvited
from curhat.accounts.names import checked_name
from curhat.accounts.queries import LockedMitra, ValidToken
from curhat.accounts.requesters import Requester
from curhat.accounts.schemas import (
    CodeVerification,
    CustomerAccount,
    Device,
    OwnCustomer,
    OwnMitra,
    SocketsToClose,
    Transport,
)
from curhat.accounts.token_lookup import TokenLookup
from curhat.deadlines import service as deadlines
from curhat.kit.audit import AuditAction, forget_name_in_audit, write_audit_entry
from curhat.kit.database import DATABASE_AWAY, Database, Transaction
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    ServiceUnavailable,
    Suspended,
    Unauthenticated,
    invalid_field,
)
from curhat.kit.identity import Identity, Role
from curhat.kit.queries import read_clock
from curhat.kit.settings import DEFAULT_PHONE_REGIONS, Settings
from curhat.kit.signals import Signals
from curhat.realtime import protocol
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.hub import Hub

log = structlog.get_logger(__name__)

Person = TypeVar("Person", OwnCustomer, OwnMitra)

# Writes the blocks that a new account inherits (P.4): the account, the people of the other role who blocked an earlier
# account of the same phone number, and the person of the other role who has the same number.
InheritBlocks = Callable[[Transaction, Identity, Sequence[UUID], UUID | None], Awaitable[None]]
# Deadline kind: the suspension of this mitra is perhaps over. The package `journeys` has its transition.
SUSPENSION_OVER: Final = "suspension_over"

# Each process that receives this signal closes sockets, and removes tokens from its cache.
SIGNAL: Final = "sockets"

TOKEN_BYTES: Final = 32
TOKEN_VALID_SECONDS: Final = 30 * 24 * 3600
# A token ends after TOKEN_IDLE_SECONDS without use.
TOKEN_IDLE_SECONDS: Final = 14 * 24 * 3600
# The use of a token is recorded at most once per TOKEN_FRESH_SECONDS, and never within a request.
TOKEN_FRESH_SECONDS: Final = 3600
# A browser keeps a cookie for at most 400 days.
KNOWN_DEVICE_SECONDS: Final = 400 * 24 * 3600
# The maximum number of known devices of one person. Each known device has its own tries.
MAX_KNOWN_DEVICES: Final = 10
MAX_USER_AGENT_CHARACTERS: Final = 200
# A process trusts a cached token for at most REMEMBERED_SECONDS, and then reads the token from PostgreSQL again. If a
# signal is lost, a process accepts a revoked token for at most REMEMBERED_SECONDS.
REMEMBERED_SECONDS: Final = 3.0
# How often a process reads the tokens in use again. So a request with a token in use does not wait for PostgreSQL.
RENEW_INTERVAL_SECONDS: Final = 1.0
# The maximum number of tokens that one renewal statement reads, so that the statement stays short.
MAX_TOKENS_PER_RENEWAL: Final = 500
# Limits the memory of the cache. One token takes about 400 bytes.
MAX_REMEMBERED_TOKENS: Final = 50_000
# A CHECK constraint of the table `mitras` has the same limit.
MAX_CUSTOMERS_PER_MITRA: Final = 20
# Limits how long one call of `prune` holds its locks.
MAX_ROWS_PER_PRUNE: Final = 10_000
# 1/STRANGERS_RESERVE of a day's ceiling is reserved for known devices.
STRANGERS_RESERVE: Final = 5
# How long a client waits after the day's ceiling was reached. The daily counts start again at midnight UTC.
CEILING_RETRY_SECONDS: Final = 3600

CODES_COUNTED: Final = Counter(
    "curhat_codes_counted_total",
    "One-time codes counted towards the ceiling per day, by country.",
    ["region"],
)
CODES_OVER_CEILING: Final = Counter(
    "curhat_codes_over_ceiling_total",
    "One-time codes refused because the day's ceiling of their country was reached.",
    ["region"],
)


@dataclass(frozen=True, slots=True)
class SentCode:
    """A new code. The caller must send the code after the commit."""

    request_id: UUID
    code: str = field(repr=False)
    expires_at: datetime
    resend_after: datetime
    server_now: datetime
    # The number of earlier codes that the requester asked for and did not use.
    earlier_codes: int


@dataclass(frozen=True, slots=True)
class SignIn(Generic[Person]):
    """The person who has signed in, the person's new token, and the device's new secret.

    `stranger` is the digest of the network address that asked for the code. `stranger` is None if a known device asked
    for the code.
    """

    person: Person
    token: str = field(repr=False)
    device_secret: str = field(repr=False)
    stranger: bytes | None = None


@dataclass(frozen=True, slots=True)
class SigningDevice:
    """The device that signs in. `replaced_secret` is the secret that the device got at an earlier sign-in."""

    user_agent: str
    replaced_secret: str | None = field(default=None, repr=False)


class Invited(msgspec.Struct, frozen=True):
    """A mitra, and whether this invitation made the person a mitra."""

    mitra_id: UUID
    is_new: bool


class SignedIn(msgspec.Struct, frozen=True):
    """The owner of a token, and how a client is allowed to present the token.

    The owner can be a suspended mitra, because a suspended mitra can still sign out.
    """

    identity: Identity
    token_digest: bytes
    transport: Transport
    is_suspended: bool


# One-time codes ------------------------------------------------------------------------------------------


async def find_requester(
    database: Database,
    secret_key: bytes,
    phone_number: str,
    *,
    address: str,
    device_secret: str | None,
    signed_in: SignedIn | None,
) -> Requester:
    """Find out whether a request for a code comes from a device of the phone number's owner.

    A device of the owner shows the owner's valid token, or the secret of an earlier sign-in. A requester that is not a
    device of the owner is a stranger.
    """
    if device_secret is None and signed_in is None:
        return requesters.stranger(secret_key, address)
    device = None if device_secret is None else requesters.known_device(device_secret)
    shown = await queries.shows_owner(
        database,
        phone_number=phone_number,
        signed_in_id=None if signed_in is None else signed_in.identity.user_id,
        device_digest=None if device is None else device.digest,
        valid_seconds=KNOWN_DEVICE_SECONDS,
    )
    if device is not None and shown.by_device:
        return device
    if signed_in is not None and shown.by_token:
        return Requester(signed_in.token_digest, is_known_device=True)
    return requesters.stranger(secret_key, address)


async def request_code(
    tx: Transaction,
    secret_key: bytes,
    role: Role,
    phone_number: str,
    requester: Requester,
    codes_per_day: Mapping[str, int] | None = None,
) -> SentCode:
    """Make a new code for an E.164 number, whether the number is known or not.

    `codes_per_day` has the ceiling of each country (None: no ceiling). Strangers get four fifths of a ceiling, so that
    an attack by strangers never locks out known devices.
    If this requester or all strangers together asked for too many codes, raises TooManyRequests with the time to wait.
    Raises CodeNotSent if the day's ceiling of the number's country is reached.
    """
    await queries.lock_phone(tx, phone_number=phone_number)
    prepared = await queries.prepare_code(
        tx,
        phone_number=phone_number,
        requester=requester.digest,
        max_used_codes_per_hour=codes.MAX_USED_CODES_PER_HOUR,
    )
    own_wait = codes.own_wait(prepared.own_unused)
    strangers_wait = codes.STRANGERS_DELAYS.after(prepared.strangers_unused)
    refuse_while_waiting(
        remaining(own_wait, prepared.own_age_seconds),
        None if requester.is_known_device else remaining(strangers_wait, prepared.strangers_age_seconds),
        prepared.used_wait_seconds,
    )
    next_wait = codes.own_wait(prepared.own_unused + 1)
    if not requester.is_known_device:
        next_wait = max(next_wait, codes.STRANGERS_DELAYS.after(prepared.strangers_unused + 1))
    code = codes.new_code()
    times = await queries.insert_code(
        tx,
        id=prepared.id,
        role=role,
        phone_number=phone_number,
        code_digest=codes.digest_of(secret_key, prepared.id, code),
        requester=requester.digest,
        is_known_device=requester.is_known_device,
        resend_seconds=next_wait,
        valid_seconds=codes.VALID_SECONDS,
    )
    if codes_per_day is not None:
        await _count_code(tx, phone_number, requester, codes_per_day)
    return SentCode(
        request_id=prepared.id,
        code=code,
        expires_at=times.expires_at,
        resend_after=times.resend_after,
        server_now=times.created_at,
        earlier_codes=prepared.own_unused,
    )


async def _count_code(
    tx: Transaction, phone_number: str, requester: Requester, codes_per_day: Mapping[str, int]
) -> None:
    """Count a code towards the day's ceiling of its country. Raises CodeNotSent if the ceiling is reached."""
    region = phone.region_of(phone_number)
    ceiling = codes_per_day.get(region, 0)
    counted = await queries.count_code_of_day(
        tx,
        region=region,
        max_codes=ceiling if requester.is_known_device else ceiling - ceiling // STRANGERS_RESERVE,
    )
    if counted is None:
        CODES_OVER_CEILING.labels(region).inc()
        log.error("accounts.code_ceiling_reached", region=region, ceiling=ceiling)
        raise CodeNotSent(retry_after_seconds=CEILING_RETRY_SECONDS)
    CODES_COUNTED.labels(region).inc()


async def verify_customer_code(
    tx: Transaction, secret_key: bytes, data: CodeVerification, device: SigningDevice, inherit: InheritBlocks
) -> SignIn[OwnCustomer] | BusinessError:
    """Mark a live code as used, and sign the customer in.

    The first sign-in creates the customer, with `data.call_name`. If the number's owner deleted an account within the
    last KEEP_ERASED_PHONE_MONTHS months, the new account inherits what P.4 says. `inherit` writes the inherited blocks.

    Returns CodeInvalid for a wrong code, and counts the try. The caller must commit the transaction and then raise the
    returned error.
    Raises CodeInvalid if the code is no longer live. Raises ValidationFailed for a bad name.
    Raises CallNameRequired if the first sign-in has no name. After CallNameRequired, the code stays live.
    """
    name = None if data.call_name is None else checked_name(data.call_name, "call_name")
    phone_number = await _phone_proved_by(tx, secret_key, "customer", data)
    if phone_number is None:
        return CodeInvalid()
    known = await queries.find_customer_by_phone(tx, phone_number=phone_number)
    if known is not None:
        customer = OwnCustomer(known.id, known.call_name)
    elif name is None:
        raise CallNameRequired
    else:
        customer = OwnCustomer(await _ensure_person(tx, phone_number, "customer"), name)
        await queries.insert_customer(tx, id=customer.id, call_name=name)
        await _inherit(tx, secret_key, Identity("customer", customer.id), phone_number, inherit)
    stranger = await queries.use_code(tx, id=data.request_id)
    return await _sign_in(tx, "customer", customer, data.transport, device, stranger)


async def verify_mitra_code(
    tx: Transaction, secret_key: bytes, data: CodeVerification, device: SigningDevice, inherit: InheritBlocks
) -> SignIn[OwnMitra] | BusinessError:
    """Mark a live code as used, and sign the mitra in.

    At the first sign-in after an invitation, the mitra inherits what an earlier account of the number left (P.4).
    `inherit` writes the inherited blocks.

    Returns CodeInvalid for a wrong code, and counts the try. Returns NotInvited or Suspended for a right code, and
    marks the code as used. The caller must commit the transaction and then raise the returned error. Raises CodeInvalid
    if the code is no longer live.
    """
    phone_number = await _phone_proved_by(tx, secret_key, "mitra", data)
    if phone_number is None:
        return CodeInvalid()
    stranger = await queries.use_code(tx, id=data.request_id)
    known = await queries.find_mitra_by_phone(tx, phone_number=phone_number)
    if known is None:
        return NotInvited()
    inherits_suspension = await _inherit(tx, secret_key, Identity("mitra", known.id), phone_number, inherit)
    if known.is_suspended or inherits_suspension:
        return Suspended()
    mitra = OwnMitra(known.id, known.display_name)
    return await _sign_in(tx, "mitra", mitra, data.transport, device, stranger)


async def _ensure_person(tx: Transaction, phone_number: str, role: Role) -> UUID:
    """Return the person with this phone number who can have this role, and make one if there is none.

    The caller holds the lock of the phone number. Raises ServiceUnavailable until `curhat migrate --after` has run, if
    the number belongs to a person who deleted this role.
    """
    person_id = await queries.ensure_person(tx, phone_number=phone_number, role=role)
    if person_id is None:
        raise ServiceUnavailable
    return person_id


async def _inherit(
    tx: Transaction, secret_key: bytes, identity: Identity, phone_number: str, inherit: InheritBlocks
) -> bool:
    """Give a new account what an earlier account of the same phone number left (P.4). Returns whether it is suspended.

    The two accounts of one number are never paired with each other, even if they are two people in the tables.
    """
    digest = erased_phones.digest_of(secret_key, phone_number)
    left = await queries.inherit_erased_phone(tx, digest=digest, role=identity.role)
    same_phone = await queries.find_same_phone(tx, id=identity.user_id)
    blocked_by = [] if left is None else left.blocked_by
    if blocked_by or same_phone is not None:
        await inherit(tx, identity, blocked_by, same_phone)
    if left is None or not (left.trial_used or left.suspended_at is not None):
        return False
    if identity.role == "customer":
        await queries.give_customer_inheritance(
            tx,
            id=identity.user_id,
            trial_used=left.trial_used,
            suspended_at=left.suspended_at,
            suspended_until=left.suspended_until,
        )
        return left.suspended_at is not None
    if left.suspended_at is None:
        return False
    await queries.give_mitra_inheritance(
        tx, id=identity.user_id, suspended_at=left.suspended_at, suspended_until=left.suspended_until
    )
    if left.suspended_until is not None:
        wait_seconds = max(0.0, (left.suspended_until - await read_clock(tx)).total_seconds())
        await deadlines.arm_another(tx, SUSPENSION_OVER, [identity.user_id], wait_seconds)
    _signal_mitra_changed(tx, identity.user_id)
    return True


async def _phone_proved_by(
    tx: Transaction, secret_key: bytes, role: Role, data: CodeVerification
) -> str | None:
    """If the code is right, return the phone number that received it.

    If the code is wrong, count the try and return None.

    Raises CodeInvalid if the code is no longer live. Only the wrong tries of this code count, so that nobody else can
    use up the tries of the phone number's owner.
    """
    if await queries.lock_phone_of_code(tx, id=data.request_id, role=role) is None:
        raise CodeInvalid
    locked = await queries.lock_code(tx, id=data.request_id, max_tries_per_code=codes.MAX_TRIES_PER_CODE)
    if locked is None or not locked.is_live:
        raise CodeInvalid
    if not codes.is_right(secret_key, data.request_id, data.code, locked.code_digest):
        await queries.count_wrong_try(tx, id=data.request_id)
        return None
    return locked.phone_number


async def use_fresh_code(
    tx: Transaction, secret_key: bytes, identity: Identity, written: str | None
) -> CodeInvalid | None:
    """Use up a one-time code that this person has just received, because the person's token is not enough for a step.

    `written` is the header X-Fresh-Code: the id of the code's request, a colon, and the code. The person asks for the
    code as for a sign-in of the same role. The transaction then holds the lock of the phone number until it ends, so no
    sign-in of this number runs beside it.

    Returns None if the code is right. Returns CodeInvalid for a wrong code, and counts the try. The caller must commit
    the transaction and then raise the returned error. If the caller rolls back, the code stays live.
    Raises FreshCodeMissing without a header. Raises CodeInvalid if the header cannot be read, if the code is no longer
    live, or if the code was sent to another person's phone. Tries of another person's code do not count.
    """
    if written is None:
        raise FreshCodeMissing
    request_id, _, code = written.partition(":")
    try:
        data = CodeVerification(UUID(request_id.strip()), code.strip())
    except ValueError:
        raise CodeInvalid from None
    phone_number = await queries.lock_phone_of_code(tx, id=data.request_id, role=identity.role)
    if phone_number is None or phone_number != await queries.find_own_phone(tx, id=identity.user_id):
        raise CodeInvalid
    if await _phone_proved_by(tx, secret_key, identity.role, data) is None:
        return CodeInvalid()
    await queries.use_code(tx, id=data.request_id)
    return None


# Tokens --------------------------------------------------------------------------------------------------


def digest_of_token(token: str) -> bytes:
    """Return the digest that the database stores for a token.

    A plain hash is enough, because nobody can guess 256 random bits.
    """
    return hashlib.sha256(token.encode()).digest()


async def _sign_in(
    tx: Transaction,
    role: Role,
    person: Person,
    transport: Transport,
    device: SigningDevice,
    stranger: bytes | None,
) -> SignIn[Person]:
    """Make a new token, and make the device a known device of this person."""
    secret = requesters.new_device_secret()
    await remember_device(tx, secret, replaced_secret=device.replaced_secret, person_id=person.id)
    token = await _new_token(tx, role, person.id, transport, device.user_agent, secret)
    return SignIn(person, token, secret, stranger)


async def _new_token(
    tx: Transaction,
    role: Role,
    user_id: UUID,
    transport: Transport,
    user_agent: str,
    device_secret: str,
) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await queries.insert_token(
        tx,
        digest=digest_of_token(token),
        role=role,
        user_id=user_id,
        transport=transport,
        user_agent=shown_user_agent(user_agent),
        known_device_digest=requesters.digest_of_secret(device_secret),
        idle_seconds=TOKEN_IDLE_SECONDS,
    )
    return token


def shown_user_agent(written: str) -> str:
    """Return the user agent for a list of devices, without the characters that PostgreSQL or a screen cannot show."""
    shown = "".join(character for character in written if character.isprintable())
    return shown[:MAX_USER_AGENT_CHARACTERS]


async def sign_out(tx: Transaction, token_digest: bytes) -> None:
    """Revoke a token, and close its sockets in every process. A repeated call does nothing."""
    if await queries.revoke_token(tx, digest=token_digest):
        _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, token_digest=token_digest.hex()))


def _signal(tx: Transaction, sockets: SocketsToClose) -> None:
    tx.signal(SIGNAL, msgspec.json.encode(sockets))


async def prune(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete old codes, tokens that have been invalid for a week, old known devices and old rows of erased phones.

    Each kind is limited to `max_rows`. Returns the highest number of rows of one kind.
    """
    await queries.prune_code_days(tx)
    return max(
        await queries.prune_erased_phones(tx, max_phones=max_rows),
        await queries.prune_codes(tx, max_codes=max_rows),
        await queries.prune_known_devices(tx, valid_seconds=KNOWN_DEVICE_SECONDS, max_devices=max_rows),
        await queries.prune_tokens(tx, max_tokens=max_rows),
    )


# Devices -------------------------------------------------------------------------------------------------


async def remember_device(
    tx: Transaction,
    secret: str,
    *,
    replaced_secret: str | None,
    person_id: UUID | None = None,
    operator_id: UUID | None = None,
) -> None:
    """Make the device with this new secret a known device of the person or operator who has just signed in.

    `replaced_secret` is the secret that the device showed until now. This call makes the replaced secret worthless.
    """
    await queries.insert_known_device(
        tx,
        digest=requesters.digest_of_secret(secret),
        person_id=person_id,
        operator_id=operator_id,
        replaced_digest=None if replaced_secret is None else requesters.digest_of_secret(replaced_secret),
        max_devices=MAX_KNOWN_DEVICES,
    )


async def find_known_devices(database: Database, digests: list[bytes]) -> dict[bytes, bytes]:
    """Return the `digests` that belong to known devices, as a mapping from each digest to itself."""
    found = await queries.find_known_devices(database, digests=digests, valid_seconds=KNOWN_DEVICE_SECONDS)
    return {digest: digest for digest in found}


async def find_operator_of_device(tx: Transaction, secret: str) -> UUID | None:
    """Return the operator who has signed in on the device with this secret, or None."""
    return await queries.find_operator_of_device(
        tx, digest=requesters.digest_of_secret(secret), valid_seconds=KNOWN_DEVICE_SECONDS
    )


async def forget_devices_of_operator(
    tx: Transaction, operator_id: UUID, kept_digest: bytes | None = None
) -> None:
    """Make every device of an operator a stranger again, except the known device with `kept_digest`."""
    await queries.forget_devices_of_operator(tx, operator_id=operator_id, kept_digest=kept_digest)


async def forget_device(tx: Transaction, digest: bytes) -> None:
    """Make the known device with this digest a stranger again."""
    await queries.forget_device(tx, digest=digest)


async def check_exists(tx: Transaction, role: Role, person_id: UUID) -> None:
    """Raise NotFound if there is no such customer or mitra."""
    if not await queries.has_role(tx, role=role, id=person_id):
        raise NotFound


async def list_devices(
    tx: Transaction, role: Role, user_id: UUID, current_digest: bytes | None = None
) -> list[Device]:
    """Read the devices on which a person is signed in, the most recently seen first.

    If the person sent the request, `current_digest` is the digest of the request's token.
    """
    return [
        Device(
            id=row.id,
            current=row.digest == current_digest,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            user_agent=row.user_agent,
        )
        for row in await queries.list_devices(tx, user_id=user_id, role=role)
    ]


async def sign_out_device(tx: Transaction, role: Role, user_id: UUID, device_id: UUID) -> bytes:
    """Sign out one device, and close its sockets in every process. Returns the digest of the device's token.

    Raises NotFound if this person has no such signed-in device.
    """
    digest = await queries.revoke_device(tx, id=device_id, user_id=user_id, role=role)
    if digest is None:
        raise NotFound
    _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, token_digest=digest.hex()))
    return digest


async def sign_out_other_devices(
    tx: Transaction, role: Role, user_id: UUID, kept_digest: bytes | None = None
) -> list[bytes]:
    """Sign out every device of a person except the device whose token has `kept_digest`.

    Closes the sockets of the signed-out devices in every process, and returns the digests of the devices' tokens.
    """
    digests = await queries.revoke_other_devices(tx, user_id=user_id, role=role, kept_digest=kept_digest)
    for digest in digests:
        _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, token_digest=digest.hex()))
    return digests


# People --------------------------------------------------------------------------------------------------


async def customer_profile(tx: Transaction, customer_id: UUID) -> CustomerAccount:
    """Return the parts of a customer's account that the customer is allowed to see. Raises NotFound."""
    customer = await queries.find_customer(tx, id=customer_id)
    if customer is None:
        raise NotFound
    return CustomerAccount(customer.id, customer.call_name, phone.mask(customer.phone_number))


async def rename_customer(tx: Transaction, customer_id: UUID, call_name: str) -> None:
    """Change a customer's call name. Raises ValidationFailed, NotFound."""
    if not await queries.rename_customer(tx, id=customer_id, call_name=checked_name(call_name, "call_name")):
        raise NotFound


async def note_adult(tx: Transaction, person: Identity) -> None:
    """Note that this person said to be an adult (P.2). A later note changes nothing."""
    if person.role == "customer":
        await queries.note_adult_customer(tx, id=person.user_id)
    else:
        await queries.note_adult_mitra(tx, id=person.user_id)


async def is_adult(tx: Transaction, person: Identity) -> bool:
    """Return whether this person has said in this role to be an adult (P.2)."""
    return await queries.is_adult(tx, role=person.role, id=person.user_id)


async def invite_mitra(
    tx: Transaction,
    phone_number: str,
    display_name: str,
    max_customers: int,
    *,
    by: str = "command line",
    phone_regions: Collection[str] = DEFAULT_PHONE_REGIONS,
) -> Invited:
    """Make the owner of a phone number a mitra. Another invitation of an existing mitra changes nothing.

    The audit records `by` as the actor. The phone number must belong to a country in `phone_regions`. Raises
    ValidationFailed.
    """
    name = checked_name(display_name, "display_name")
    _check_capacity(max_customers)
    normalised = phone.normalise(phone_number, phone_regions)
    await queries.lock_phone(tx, phone_number=normalised)
    mitra_id = await _ensure_person(tx, normalised, "mitra")
    inserted = await queries.insert_mitra(tx, id=mitra_id, display_name=name, max_customers=max_customers)
    if inserted:
        await write_audit_entry(tx, by, "mitra_invited", "mitra", mitra_id, new=name)
    return Invited(mitra_id, is_new=inserted > 0)


async def rename_mitra(tx: Transaction, mitra_id: UUID, display_name: str, *, by: str) -> None:
    """Change a mitra's display name. Setting the same name changes nothing. Raises ValidationFailed, NotFound."""
    name = checked_name(display_name, "display_name")
    before = (await _locked_mitra(tx, mitra_id)).display_name
    if before != name:
        await queries.rename_mitra(tx, id=mitra_id, display_name=name)
        await write_audit_entry(tx, by, "mitra_renamed", "mitra", mitra_id, old=before, new=name)


async def change_capacity(tx: Transaction, mitra_id: UUID, max_customers: int, *, by: str) -> bool:
    """Change a mitra's capacity (X.7). Returns whether the mitra is now full. Running sessions are not affected.

    Setting the same capacity changes nothing. Raises ValidationFailed, NotFound.
    """
    _check_capacity(max_customers)
    mitra = await _locked_mitra(tx, mitra_id)
    if mitra.max_customers != max_customers:
        await queries.change_capacity(tx, id=mitra_id, max_customers=max_customers)
        old, new = str(mitra.max_customers), str(max_customers)
        await write_audit_entry(tx, by, "mitra_capacity_changed", "mitra", mitra_id, old=old, new=new)
        _signal_mitra_changed(tx, mitra_id)
    return mitra.active_sessions >= max_customers


def _check_capacity(max_customers: int) -> None:
    if not 1 <= max_customers <= MAX_CUSTOMERS_PER_MITRA:
        raise invalid_field("max_customers", f"must be from 1 to {MAX_CUSTOMERS_PER_MITRA}")


async def suspend_mitra(
    tx: Transaction,
    mitra_id: UUID,
    *,
    by: str = "command line",
    reason: str | None = None,
    until: datetime | None = None,
) -> bool:
    """Suspend a mitra, until `until` or until an operator lifts the suspension. Every process closes its sockets.

    After the commit, every process refuses the mitra's tokens. `lift_suspension` revokes these tokens.
    The package `journeys` withdraws the mitra's requests and ends the mitra's sessions. If the mitra is suspended
    already, the function returns False, and the suspension ends at the later of the two ends. The audit keeps the
    reason. Raises NotFound.
    """
    mitra = await _locked_mitra(tx, mitra_id)
    if mitra.is_suspended:
        if mitra.suspended_until is not None and (until is None or until > mitra.suspended_until):
            await queries.change_suspension_end(tx, id=mitra_id, until=until)
            await _audit_suspension(tx, "mitra", mitra_id, by, until, reason, old="suspended")
        return False
    await queries.suspend_mitra(tx, id=mitra_id, until=until)
    await _audit_suspension(tx, "mitra", mitra_id, by, until, reason, old="admitted")
    _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, role="mitra", user_id=mitra_id))
    _signal_mitra_changed(tx, mitra_id)
    return True


async def _audit_suspension(
    tx: Transaction,
    role: Role,
    user_id: UUID,
    by: str,
    until: datetime | None,
    reason: str | None,
    *,
    old: str,
) -> None:
    new = "suspended" if until is None else f"suspended until {until.isoformat()}"
    if reason is not None:
        new = f"{new}: {reason}"
    action: AuditAction = "customer_suspended" if role == "customer" else "mitra_suspended"
    await write_audit_entry(tx, by, action, role, user_id, old=old, new=new)


async def lift_suspension_that_is_over(tx: Transaction, mitra_id: UUID) -> bool:
    """Lift a mitra's suspension whose end has passed. Returns whether the suspension was lifted.

    A suspension that an operator has prolonged or lifted meanwhile does not change.
    """
    if not (await _locked_mitra(tx, mitra_id)).is_over:
        return False
    await lift_suspension(tx, mitra_id, by="system")
    return True


async def lift_suspension(tx: Transaction, mitra_id: UUID, *, by: str = "command line") -> bool:
    """End a suspension, and revoke the mitra's tokens, so that the mitra signs in again.

    Returns False and changes nothing if the mitra was not suspended. Raises NotFound.
    """
    if not (await _locked_mitra(tx, mitra_id)).is_suspended:
        return False
    await queries.lift_suspension(tx, id=mitra_id)
    await write_audit_entry(
        tx, by, "mitra_suspension_lifted", "mitra", mitra_id, old="suspended", new="admitted"
    )
    _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, role="mitra", user_id=mitra_id))
    _signal_mitra_changed(tx, mitra_id)
    return True


async def suspend_customer(
    tx: Transaction, customer_id: UUID, *, until: datetime | None, by: str, reason: str | None
) -> bool:
    """Suspend a customer until `until`, or for good. A running session goes on. The audit keeps the reason.

    Returns False and changes nothing if the customer is suspended for at least as long already. Raises NotFound.
    """
    customer = await queries.lock_customer(tx, id=customer_id)
    if customer is None:
        raise NotFound
    if customer.is_suspended:
        before = customer.suspended_until
        if before is None or (until is not None and until <= before):
            return False
    await queries.suspend_customer(tx, id=customer_id, until=until)
    old = "suspended" if customer.is_suspended else "admitted"
    await _audit_suspension(tx, "customer", customer_id, by, until, reason, old=old)
    return True


async def lift_customer_suspension(tx: Transaction, customer_id: UUID, *, by: str) -> bool:
    """End a customer's suspension. Returns False and changes nothing if it is not in force. Raises NotFound."""
    customer = await queries.lock_customer(tx, id=customer_id)
    if customer is None:
        raise NotFound
    if not customer.is_suspended:
        return False
    await queries.lift_customer_suspension(tx, id=customer_id)
    await write_audit_entry(
        tx, by, "customer_suspension_lifted", "customer", customer_id, old="suspended", new="admitted"
    )
    return True


async def refuse_suspended_customer(
    tx: Transaction, customer_id: UUID, *, until_commit: bool = False
) -> None:
    """Raise Suspended if the customer is suspended now (T.3).

    With `until_commit`, no suspension of the customer commits before this transaction has ended. The row of the
    customer comes after the payment in the lock order.
    """
    read = queries.share_lock_customer if until_commit else queries.is_customer_suspended
    if await read(tx, id=customer_id):
        raise Suspended


async def _locked_mitra(tx: Transaction, mitra_id: UUID) -> LockedMitra:
    mitra = await queries.lock_mitra(tx, id=mitra_id)
    if mitra is None:
        raise NotFound
    return mitra


def _signal_mitra_changed(tx: Transaction, mitra_id: UUID) -> None:
    tx.signal("mitra_changed", msgspec.json.encode([mitra_id]))


# Deleted accounts ----------------------------------------------------------------------------------------

# The name of a deleted account, which the other side and the operators see.
DELETED_NAME: Final = "Akun dihapus"


class DeletedAccount(msgspec.Struct, frozen=True):
    """An account that was deleted just now. `token_digests` are the digests of its tokens."""

    phone_number: str
    suspended_at: datetime | None
    suspended_until: datetime | None
    token_digests: list[bytes]


async def lock_account(tx: Transaction, identity: Identity) -> bool:
    """Lock the account of this person before its deletion. Returns False if it is deleted already. Raises NotFound.

    From now on, a new payment of the customer, and an accept of the mitra, wait for the end of this transaction.
    """
    if await queries.lock_person(tx, id=identity.user_id) is None:
        raise NotFound
    account = await queries.lock_account(tx, id=identity.user_id, role=identity.role)
    if account is None:
        raise NotFound
    return not account.is_deleted


async def delete_account(tx: Transaction, identity: Identity) -> DeletedAccount:
    """Delete the account: no name, no phone number, no token, no code (P.3). The caller has called `lock_account`.

    If the person also has the other role, the phone number stays for that role. Every process closes the sockets.
    """
    person_id, role = identity.user_id, identity.role
    account = await queries.lock_account(tx, id=person_id, role=role)
    phone_number = await queries.find_own_phone(tx, id=person_id)
    if account is None or phone_number is None:
        raise NotFound
    digests = await sign_out_other_devices(tx, role, person_id)
    if role == "customer":
        await queries.mark_customer_deleted(tx, id=person_id, name=DELETED_NAME)
    else:
        await queries.mark_mitra_deleted(tx, id=person_id, name=DELETED_NAME)
        _signal_mitra_changed(tx, person_id)
    await queries.end_codes_of_phone(tx, phone_number=phone_number, role=role)
    await queries.empty_inbox(tx, phone_number=phone_number)
    await queries.take_phone_number(tx, id=person_id, role=role)
    _signal(tx, SocketsToClose(code=protocol.SIGNED_OUT, role=role, user_id=person_id))
    return DeletedAccount(phone_number, account.suspended_at, account.suspended_until, digests)


async def keep_erased_phone(
    tx: Transaction,
    secret_key: bytes,
    role: Role,
    deleted: DeletedAccount,
    *,
    trial_used: bool,
    blocked_by: Sequence[UUID],
) -> None:
    """Keep what the same phone number inherits when it comes back (P.4). Writes nothing if there is nothing to inherit.

    The database stores a keyed digest instead of the number.
    """
    if not (trial_used or blocked_by or deleted.suspended_at is not None):
        return
    await queries.keep_erased_phone(
        tx,
        digest=erased_phones.digest_of(secret_key, deleted.phone_number),
        role=role,
        trial_used=trial_used,
        suspended_at=deleted.suspended_at,
        suspended_until=deleted.suspended_until,
        blocked_by=blocked_by,
        kept_months=erased_phones.KEPT_MONTHS,
    )


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the tokens and the known devices of a deleted account, and the name of a mitra in the audit.

    Returns False: nothing is left. A repeated call changes nothing.
    """
    await queries.delete_tokens(tx, user_id=user_id, role=role)
    await queries.forget_devices_of_person(tx, person_id=user_id)
    if role == "mitra":
        await forget_name_in_audit(tx, user_id)
    return False


# Identifying the caller ---------------------------------------------------------------------------------


class Authenticator:
    """Finds the owner of a token, and caches the owner for 3 s. Each process has one Authenticator."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._lookup = TokenLookup(self._find)
        # Maps a token's digest to the time when the entry expires (time.monotonic), and to the token's owner. The
        # oldest entry is first.
        self._remembered: dict[bytes, tuple[float, SignedIn]] = {}
        # The digests of the tokens that requests have used and that are not renewed yet. `authenticate` adds a token
        # for each request. `renew` removes the tokens that it renews.
        self._used: set[bytes] = set()
        # The digests of the tokens in use that had no recorded use for an hour.
        self._stale: set[bytes] = set()

    def listen(self, signals: Signals, hub: Hub) -> None:
        """Make sign-outs and suspensions take effect in this process immediately. Call this before `signals.run`."""

        def sockets_to_close(payload: bytes) -> None:
            sockets = self.forget(payload)
            if sockets.token_digest is not None:
                hub.close_tokens({bytes.fromhex(sockets.token_digest)}, sockets.code)
            if sockets.role is not None and sockets.user_id is not None:
                hub.close_user(sockets.role, sockets.user_id, sockets.code)

        signals.handle(SIGNAL, sockets_to_close)

    async def authenticate(self, token: str) -> SignedIn | None:
        """Return the owner of a valid token, or None for any other token. The answer is at most 3 s old."""
        digest = digest_of_token(token)
        now = time.monotonic()
        if self._is_trusted(digest, now):
            self._used.add(digest)
            return self._remembered[digest][1]
        found = await self._lookup.get(digest)
        self._remembered.pop(digest, None)
        if found is None:
            # Do not cache an invalid token, because made-up tokens could fill the cache.
            return None
        signed_in = _signed_in(found)
        self._used.add(digest)
        if len(self._remembered) >= MAX_REMEMBERED_TOKENS:
            del self._remembered[next(iter(self._remembered))]
        # The cache entry expires relative to the time the query was sent. So a token revoked during the query is not
        # trusted longer than REMEMBERED_SECONDS.
        self._remembered[digest] = (now + REMEMBERED_SECONDS, signed_in)
        return signed_in

    async def _find(self, digests: Sequence[bytes]) -> dict[bytes, ValidToken]:
        tokens = await queries.find_valid_tokens(
            self._database, digests=list(digests), fresh_seconds=TOKEN_FRESH_SECONDS
        )
        self._stale.update(token.digest for token in tokens if token.is_seen_stale)
        return {token.digest: token for token in tokens}

    async def run(self) -> None:
        """Renew the cache entries of the tokens in use, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_INTERVAL_SECONDS)
            try:
                await self.renew()
                await self.record_use()
            except DATABASE_AWAY as error:
                # When the cache entry of a token has expired, the next request with the token reads the token from
                # PostgreSQL.
                log.warning("accounts.tokens_not_renewed", error=type(error).__name__)

    async def record_use(self) -> None:
        """Record the use of the tokens in use, at most once per hour and token.

        A recorded use extends the lifetime of the token.
        """
        while self._stale:
            batch = [self._stale.pop() for _ in range(min(MAX_TOKENS_PER_RENEWAL, len(self._stale)))]
            await queries.touch_tokens(
                self._database,
                digests=batch,
                fresh_seconds=TOKEN_FRESH_SECONDS,
                idle_seconds=TOKEN_IDLE_SECONDS,
                valid_seconds=TOKEN_VALID_SECONDS,
            )

    async def renew(self) -> None:
        """Renew the cache entries that expire soon and belong to tokens in use.

        One statement reads many tokens again.
        """
        now = time.monotonic()
        due = [
            digest
            for digest in self._used
            if digest not in self._remembered
            or self._remembered[digest][0] < now + 2 * RENEW_INTERVAL_SECONDS
        ]
        self._used.difference_update(due)
        for start in range(0, len(due), MAX_TOKENS_PER_RENEWAL):
            asked_at = time.monotonic()
            # Do not renew a token whose entry has expired. The next request with this token reads the token from
            # PostgreSQL.
            tokens_of_batch = due[start : start + MAX_TOKENS_PER_RENEWAL]
            batch = [digest for digest in tokens_of_batch if self._is_trusted(digest, asked_at)]
            if not batch:
                continue
            found = await self._find(batch)
            # Update only entries that are still in the cache. During the query, a sign-out can remove an entry, and the
            # query's answer can be older than the sign-out.
            for digest in self._remembered.keys() & batch:
                if digest in found:
                    self._remembered[digest] = (asked_at + REMEMBERED_SECONDS, _signed_in(found[digest]))
                else:
                    self.forget_token(digest)

    def _is_trusted(self, digest: bytes, now: float) -> bool:
        remembered = self._remembered.get(digest)
        return remembered is not None and remembered[0] > now

    async def identify(self, role: Role, scope: ReadScope) -> SignedIn:
        """Return the user whose token is in the bearer header or cookie of this HTTP request or socket handshake.

        The user can be a suspended mitra.
        Raises Unauthenticated if there is no valid token. Raises Forbidden if the token belongs to the other role.
        Raises Forbidden if the token is in a cookie and a page of another site possibly sent the request.
        """
        presented = cookies.presented_token(scope, role, self._settings)
        signed_in = None if presented is None else await self.authenticate(presented.token)
        if presented is None or signed_in is None or signed_in.transport != presented.transport:
            raise Unauthenticated
        if signed_in.identity.role != role:
            raise Forbidden
        return signed_in

    async def socket_identity(self, role: Role, scope: ReadScope) -> SocketIdentity | None:
        """Return the user whose token is in the bearer header or cookie of this socket handshake.

        Returns None if there is no such user, or if the user is not allowed to open the socket.
        """
        with contextlib.suppress(Unauthenticated, Forbidden):
            signed_in = await self.identify(role, scope)
            if not signed_in.is_suspended:
                return SocketIdentity(identity=signed_in.identity, token_digest=signed_in.token_digest)
        return None

    async def signed_out(self, held: Sequence[SocketIdentity]) -> set[bytes]:
        """Return the digests of the tokens in `held` that are revoked or expired, or whose owner is suspended."""
        digests = {socket.token_digest for socket in held}
        admitting = await queries.find_admitting_tokens(
            self._database, digests=list(digests), fresh_seconds=TOKEN_FRESH_SECONDS
        )
        # An open socket counts as a use of its token.
        self._stale.update(token.digest for token in admitting if token.is_seen_stale)
        return digests.difference(token.digest for token in admitting)

    def forget(self, payload: bytes) -> SocketsToClose:
        """Decode a signal of the channel `sockets`, and remove its tokens from the cache.

        Returns the decoded signal.
        """
        sockets = msgspec.json.decode(payload, type=SocketsToClose)
        if sockets.token_digest is not None:
            self.forget_token(bytes.fromhex(sockets.token_digest))
        if sockets.user_id is not None:
            # Scan the whole cache, because suspensions are rare. An index by owner would make every request slower.
            for digest, (_, signed_in) in list(self._remembered.items()):
                if signed_in.identity.user_id == sockets.user_id and signed_in.identity.role == sockets.role:
                    self.forget_token(digest)
        return sockets

    def forget_token(self, token_digest: bytes) -> None:
        """Remove one token from the cache, so that this process reads the token from PostgreSQL again."""
        self._remembered.pop(token_digest, None)


def _signed_in(token: ValidToken) -> SignedIn:
    identity = Identity(token.role, token.user_id)
    return SignedIn(identity, token.digest, token.transport, token.is_suspended)


# After a restore to an earlier time ----------------------------------------------------------------------------------

# The call name of a customer whose row a restore lost, and of whom only the gateway knows a payment.
LOST_CUSTOMER_NAME: Final = "Tidak dikenal"


async def sign_out_everybody(tx: Transaction) -> int:
    """Revoke the tokens of all customers and mitras, forget every known device, and end every one-time code.

    A restore brings back tokens, devices and codes that were revoked or used after the restored time. The tables do not
    show which of them. The push subscriptions of the revoked tokens also end. Returns the number of revoked tokens.
    """
    revoked = await queries.revoke_every_token(tx)
    await queries.forget_every_device(tx)
    await queries.end_every_code(tx)
    return revoked


async def ensure_lost_customer(tx: Transaction, customer_id: UUID) -> None:
    """Insert a customer of whom only the id is known, unless the customer exists.

    The phone number begins with +999, which no country has. So nobody can sign in with the number.
    """
    phone_number = f"+999{customer_id.int % 10**12:012d}"
    await queries.ensure_lost_person(tx, id=customer_id, phone_number=phone_number)
    await queries.ensure_lost_customer(tx, id=customer_id, call_name=LOST_CUSTOMER_NAME)
