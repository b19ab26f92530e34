"""The API's structs of the team."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.control_center.operators.permissions import OperatorRole
from curhat.control_center.operators.schemas import NewPassword, WrittenEmail

OperatorState = Literal["active", "awaiting_link", "deactivated"]
WrittenSecret = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class TeamMember(msgspec.Struct, frozen=True, kw_only=True):
    """An operator, as admins see it.

    `state`: `awaiting_link` until an invited or reset operator has used the one-time link. `link_expires_at`: null if
    there is no open link. `devices`: on how many devices the operator is signed in.
    """

    id: UUID
    email: str
    role: OperatorRole
    state: OperatorState
    totp_enrolled: bool
    created_at: datetime
    last_seen_at: datetime | None
    devices: int
    link_expires_at: datetime | None


class Team(msgspec.Struct, frozen=True):
    """All operators, in the order of their e-mails."""

    items: list[TeamMember]
    server_now: datetime
    next_cursor: str | None = None


class OperatorInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite, and with which role."""

    email: WrittenEmail
    role: OperatorRole


class OperatorChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change. A field that is left out stays unchanged. `active` false deactivates the operator."""

    role: OperatorRole | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET


class MadeLink(msgspec.Struct, frozen=True, kw_only=True):
    """A new link, without its secret. This struct is stored under the Idempotency-Key."""

    operator: TeamMember
    link_id: UUID
    expires_at: datetime


class OperatorLink(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link for the operator. Only this answer contains the secret. `path` is the address to hand over."""

    operator: TeamMember
    secret: str
    path: str
    expires_at: datetime


class LinkUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret of a link, and the password that the operator chooses."""

    secret: WrittenSecret
    password: NewPassword


class LinkUsed(msgspec.Struct, frozen=True):
    """With this e-mail and the new password, the operator can now sign in."""

    email: str
