"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.operators.permissions import OperatorRole
from curhat.control_center.team.schemas import OperatorState
from curhat.kit.database import Executor, NoRow


class MemberRow(msgspec.Struct, frozen=True):
    id: UUID
    email: str
    role: OperatorRole
    state: OperatorState
    totp_enrolled: bool
    created_at: datetime
    last_seen_at: datetime | None
    devices: int
    link_expires_at: datetime | None


LIST_MEMBERS: Final = """
SELECT operators.id, operators.email, operators.role,
    CASE
        WHEN operators.disabled_at IS NOT NULL THEN 'deactivated'
        WHEN operators.awaits_link THEN 'awaiting_link'
        ELSE 'active'
    END AS state,
    operators.totp_salt IS NOT NULL AS totp_enrolled, operators.created_at, signed_in.last_seen_at, signed_in.devices,
    operator_links.expires_at AS link_expires_at
FROM operators
LEFT JOIN operator_links ON operator_links.operator_id = operators.id AND operator_links.expires_at > curhat_now()
CROSS JOIN LATERAL (
    SELECT max(last_seen_at) AS last_seen_at,
        count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > curhat_now()) AS devices
    FROM operator_tokens WHERE operator_tokens.operator_id = operators.id
) AS signed_in
WHERE $1::uuid IS NULL OR operators.id = $1
ORDER BY operators.email
LIMIT $2
"""


async def list_members(db: Executor, /, *, only_id: UUID | None, max_rows: int) -> list[MemberRow]:
    """Read the operators, in the order of their e-mails, at most @max_rows. If @only_id is not null, only this operator."""
    return [MemberRow(*row) for row in await db.fetch(LIST_MEMBERS, only_id, max_rows)]


IS_ACTIVE_ADMIN: Final = """
SELECT EXISTS (
    SELECT FROM operators WHERE id = $1 AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AS is_active_admin
"""


async def is_active_admin(db: Executor, /, *, operator_id: UUID) -> bool:
    """Return whether this operator is an admin who can sign in."""
    row = await db.fetchrow(IS_ACTIVE_ADMIN, operator_id)
    if row is None:
        raise NoRow(IS_ACTIVE_ADMIN)
    value: bool = row[0]
    return value


class LockedMember(msgspec.Struct, frozen=True):
    id: UUID
    email: str
    role: OperatorRole
    is_disabled: bool
    awaits_link: bool


LOCK_MEMBER: Final = """
SELECT id, email, role, disabled_at IS NOT NULL AS is_disabled, awaits_link
FROM operators WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_member(db: Executor, /, *, operator_id: UUID) -> LockedMember | None:
    """Lock an operator's row. Returns no row if no such operator exists."""
    row = await db.fetchrow(LOCK_MEMBER, operator_id)
    if row is None:
        return None
    return LockedMember(*row)


INSERT_INVITED: Final = """
INSERT INTO operators (email, role, password_hash, awaits_link) VALUES ($1, $2, $3, true)
ON CONFLICT (email) DO NOTHING
RETURNING id
"""


async def insert_invited(
    db: Executor, /, *, email: str, role: OperatorRole, password_hash: str
) -> UUID | None:
    """Insert an operator who awaits a link. Returns no row if another operator has this e-mail."""
    row = await db.fetchrow(INSERT_INVITED, email, role, password_hash)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class PutLink(msgspec.Struct, frozen=True):
    id: UUID
    expires_at: datetime


PUT_LINK: Final = """
INSERT INTO operator_links (operator_id, expires_at)
VALUES ($1, curhat_now() + make_interval(secs => $2))
ON CONFLICT (operator_id) DO UPDATE SET id = uuidv7(), created_at = curhat_now(), expires_at = EXCLUDED.expires_at
RETURNING id, expires_at
"""


async def put_link(db: Executor, /, *, operator_id: UUID, lifetime_seconds: float) -> PutLink:
    """Make the operator's link (nothing or link → new link). The old link stops working."""
    row = await db.fetchrow(PUT_LINK, operator_id, lifetime_seconds)
    if row is None:
        raise NoRow(PUT_LINK)
    return PutLink(*row)


TAKE_ACCESS: Final = """
WITH take AS (
    UPDATE operators SET password_hash = $1, awaits_link = true, must_change_password = false,
        totp_salt = NULL, totp_new_salt = NULL
    WHERE id = $2 RETURNING id
)
DELETE FROM operator_recovery_codes USING take WHERE operator_recovery_codes.operator_id = take.id
"""


async def take_access(db: Executor, /, *, password_hash: str, operator_id: UUID) -> None:
    """Remove the operator's password, authenticator app and recovery codes (active → awaiting a link)."""
    await db.execute(TAKE_ACCESS, password_hash, operator_id)


SET_ROLE: Final = """
UPDATE operators SET role = $1 WHERE id = $2
"""


async def set_role(db: Executor, /, *, role: OperatorRole, operator_id: UUID) -> None:
    await db.execute(SET_ROLE, role, operator_id)


DEACTIVATE: Final = """
WITH deactivate AS (
    UPDATE operators SET disabled_at = curhat_now() WHERE id = $1 RETURNING id
)
DELETE FROM operator_links USING deactivate WHERE operator_links.operator_id = deactivate.id
"""


async def deactivate(db: Executor, /, *, operator_id: UUID) -> None:
    """Deactivate the operator (active or awaiting a link → deactivated), and delete the operator's link."""
    await db.execute(DEACTIVATE, operator_id)


ACTIVATE: Final = """
UPDATE operators SET disabled_at = NULL WHERE id = $1
"""


async def activate(db: Executor, /, *, operator_id: UUID) -> None:
    """Activate the operator again (deactivated → active or awaiting a link)."""
    await db.execute(ACTIVATE, operator_id)


REVOKE_TOKENS: Final = """
UPDATE operator_tokens SET revoked_at = curhat_now() WHERE operator_id = $1 AND revoked_at IS NULL
"""


async def revoke_tokens(db: Executor, /, *, operator_id: UUID) -> None:
    """Revoke every valid token of the operator."""
    await db.execute(REVOKE_TOKENS, operator_id)


FIND_LINK: Final = """
SELECT operators.email
FROM operator_links JOIN operators ON operators.id = operator_links.operator_id AND operators.disabled_at IS NULL
WHERE operator_links.id = $1 AND operator_links.expires_at > curhat_now()
"""


async def find_link(db: Executor, /, *, link_id: UUID) -> str | None:
    """Find the operator of an open link. Returns no row if the link was used, replaced, or has expired."""
    row = await db.fetchrow(FIND_LINK, link_id)
    if row is None:
        return None
    value: str = row[0]
    return value


class UsedLink(msgspec.Struct, frozen=True):
    id: UUID
    email: str


USE_LINK: Final = """
WITH used AS (
    DELETE FROM operator_links WHERE id = $1 AND expires_at > curhat_now() RETURNING operator_id
)
UPDATE operators SET password_hash = $2, awaits_link = false, must_change_password = false
FROM used WHERE operators.id = used.operator_id AND operators.disabled_at IS NULL
RETURNING operators.id, operators.email
"""


async def use_link(db: Executor, /, *, link_id: UUID, password_hash: str) -> UsedLink | None:
    """Delete the open link (open → used), and give its operator the password. A second use waits for the first one, and then
    finds no row."""
    row = await db.fetchrow(USE_LINK, link_id, password_hash)
    if row is None:
        return None
    return UsedLink(*row)
