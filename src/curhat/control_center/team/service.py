"""Invites, changes, resets, signs out and deactivates operators. No function here commits its transaction."""

import hashlib
import hmac
from typing import Final
from uuid import UUID

import msgspec

from curhat.accounts import service as accounts
from curhat.control_center.operators import passwords
from curhat.control_center.operators import queries as operators
from curhat.control_center.operators.errors import EmailTaken
from curhat.control_center.operators.permissions import OperatorRole
from curhat.control_center.operators.service import SignedInOperator, checked_email
from curhat.control_center.schemas import from_row
from curhat.control_center.team import queries
from curhat.control_center.team.errors import LinkInvalid, OperatorDisabled, OwnAccount
from curhat.control_center.team.queries import LockedMember
from curhat.control_center.team.schemas import (
    LinkUsed,
    MadeLink,
    OperatorChange,
    OperatorInvitation,
    OperatorLink,
    Team,
    TeamMember,
)
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import Forbidden, NotFound, invalid_field
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock

LINK_LIFETIME_SECONDS: Final = 24 * 3600
MAX_MEMBERS_SHOWN: Final = 500
# The web client reads the secret from the fragment, which a browser sends to no server.
LINK_PATH: Final = "/control-center/welcome#"


async def read_team(tx: Transaction) -> Team:
    """Read the operators, at most MAX_MEMBERS_SHOWN."""
    rows = await queries.list_members(tx, only_id=None, max_rows=MAX_MEMBERS_SHOWN)
    return Team(items=[from_row(TeamMember, row) for row in rows], server_now=await read_clock(tx))


async def _read_member(tx: Transaction, operator_id: UUID) -> TeamMember:
    rows = await queries.list_members(tx, only_id=operator_id, max_rows=1)
    return from_row(TeamMember, rows[0])


async def invite(
    tx: Transaction, admin: SignedInOperator, invitation: OperatorInvitation, unusable_hash: str
) -> MadeLink:
    """Create an operator who must use a one-time link. `unusable_hash`: the hash of a password that nobody knows.

    Raises ValidationFailed, EmailTaken, Forbidden.
    """
    await _require_admin(tx, admin)
    operator_id = await queries.insert_invited(
        tx, email=checked_email(invitation.email), role=invitation.role, password_hash=unusable_hash
    )
    if operator_id is None:
        raise EmailTaken
    await write_audit_entry(tx, admin.id, "operator_invited", "operator", operator_id, new=invitation.role)
    return await _make_link(tx, operator_id)


async def reset(tx: Transaction, admin: SignedInOperator, operator_id: UUID, unusable_hash: str) -> MadeLink:
    """Take the password and the authenticator app from an operator, sign the operator out, and make a one-time link.

    An invited operator gets a new link. Raises NotFound, OwnAccount, OperatorDisabled, Forbidden.
    """
    member = await _lock_other(tx, admin, operator_id)
    if member.is_disabled:
        raise OperatorDisabled
    await queries.take_access(tx, operator_id=operator_id, password_hash=unusable_hash)
    await _sign_out(tx, operator_id)
    await write_audit_entry(tx, admin.id, "operator_reset", "operator", operator_id)
    return await _make_link(tx, operator_id)


async def change(
    tx: Transaction, admin: SignedInOperator, operator_id: UUID, wanted: OperatorChange
) -> TeamMember:
    """Change the role, deactivate or activate. A value that the operator already has changes nothing.

    Raises NotFound, ValidationFailed, OwnAccount, Forbidden.
    """
    if wanted == OperatorChange():
        raise invalid_field("body", "must name role or active")
    member = await _lock_other(tx, admin, operator_id)
    await pause_point("team.locked")
    if wanted.role is not msgspec.UNSET and wanted.role != member.role:
        await _change_role(tx, admin, member, wanted.role)
    if wanted.active is False and not member.is_disabled:
        await queries.deactivate(tx, operator_id=operator_id)
        await _sign_out(tx, operator_id)
        await write_audit_entry(tx, admin.id, "operator_disabled", "operator", operator_id)
    elif wanted.active is True and member.is_disabled:
        await queries.activate(tx, operator_id=operator_id)
        await write_audit_entry(tx, admin.id, "operator_enabled", "operator", operator_id)
    return await _read_member(tx, operator_id)


async def _change_role(
    tx: Transaction, admin: SignedInOperator, member: LockedMember, role: OperatorRole
) -> None:
    await queries.set_role(tx, operator_id=member.id, role=role)
    await write_audit_entry(
        tx, admin.id, "operator_role_changed", "operator", member.id, old=member.role, new=role
    )


async def sign_out(tx: Transaction, admin: SignedInOperator, operator_id: UUID) -> None:
    """Sign an operator out on every device. Raises Forbidden, NotFound."""
    await _require_admin(tx, admin)
    if await queries.lock_member(tx, operator_id=operator_id) is None:
        raise NotFound
    await _sign_out(tx, operator_id)
    await write_audit_entry(tx, admin.id, "operator_signed_out", "operator", operator_id)


async def _require_admin(tx: Transaction, admin: SignedInOperator) -> None:
    """Lock the active admins, then check that this operator is one of them. Raises Forbidden.

    The check of the HTTP request came before the lock. Perhaps another admin has taken the access since.
    """
    await operators.lock_active_admins(tx)
    if not await queries.is_active_admin(tx, operator_id=admin.id):
        raise Forbidden


async def _lock_other(tx: Transaction, admin: SignedInOperator, operator_id: UUID) -> LockedMember:
    """Lock the active admins and an operator's row. Raises Forbidden, NotFound, OwnAccount.

    Nobody changes the own account. So an admin always stays, if only an active admin can take access from others.
    """
    await _require_admin(tx, admin)
    member = await queries.lock_member(tx, operator_id=operator_id)
    if member is None:
        raise NotFound
    if member.id == admin.id:
        raise OwnAccount
    return member


async def _sign_out(tx: Transaction, operator_id: UUID) -> None:
    await queries.revoke_tokens(tx, operator_id=operator_id)
    await accounts.forget_devices_of_operator(tx, operator_id)


# Links -------------------------------------------------------------------------------------------------------


async def _make_link(tx: Transaction, operator_id: UUID) -> MadeLink:
    link = await queries.put_link(tx, operator_id=operator_id, lifetime_seconds=LINK_LIFETIME_SECONDS)
    member = await _read_member(tx, operator_id)
    return MadeLink(operator=member, link_id=link.id, expires_at=link.expires_at)


def with_secret(secret_key: bytes, made: MadeLink) -> OperatorLink:
    """Return the link with its secret, which is derived from the link's id."""
    secret = f"{made.link_id.hex}{_proof_of(secret_key, made.link_id)}"
    return OperatorLink(
        operator=made.operator, secret=secret, path=f"{LINK_PATH}{secret}", expires_at=made.expires_at
    )


def link_of(secret_key: bytes, secret: str) -> UUID:
    """Return the id of the link to which this secret belongs. Raises LinkInvalid."""
    written_id, proof = secret[:32], secret[32:]
    try:
        link_id = UUID(hex=written_id)
    except ValueError:
        raise LinkInvalid from None
    if not hmac.compare_digest(proof.encode(), _proof_of(secret_key, link_id).encode()):
        raise LinkInvalid
    return link_id


def _proof_of(secret_key: bytes, link_id: UUID) -> str:
    return hmac.digest(secret_key, b"curhat operator link 1 " + link_id.bytes, hashlib.sha256).hex()


async def find_email_of_link(tx: Transaction, link_id: UUID) -> str:
    """Return the e-mail of the operator of an open link. Raises LinkInvalid."""
    email = await queries.find_link(tx, link_id=link_id)
    if email is None:
        raise LinkInvalid
    return email


async def use_link(tx: Transaction, link_id: UUID, password_hash: str) -> LinkUsed:
    """Use the link up, and give its operator the password. Raises LinkInvalid."""
    used = await queries.use_link(tx, link_id=link_id, password_hash=password_hash)
    if used is None:
        raise LinkInvalid
    await write_audit_entry(tx, used.id, "operator_link_used", "operator", used.id)
    return LinkUsed(email=used.email)


async def make_unusable_hash() -> str:
    """Return the hash of a random password that is not kept, so that no password is right."""
    return await passwords.OPERATORS_HASHES.hashed(passwords.generated(), "", "password")
