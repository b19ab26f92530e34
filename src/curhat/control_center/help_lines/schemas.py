"""The API's structs of the help lines, as operators see them."""

from datetime import datetime
from typing import Annotated

import msgspec

from curhat.content.help_lines.schemas import MAX_ITEMS, HelpLine
from curhat.control_center.schemas import OperatorReference


class HelpLineVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the help lines.

    `proposed_by` and `published_by`: null if the list came with a release. `published_at`: null until another admin
    publishes the version. `unverified`: the ids of the lines that nobody has verified for 30 days.
    """

    version: int
    items: list[HelpLine]
    proposed_by: OperatorReference | None
    proposed_at: datetime
    published_by: OperatorReference | None
    published_at: datetime | None
    unverified: list[str]


class HelpLineVersions(msgspec.Struct, frozen=True, kw_only=True):
    """`current`: the version that everybody sees. `proposed`: the newest version, if it still waits for another admin.

    `history`: the newest 20 versions, newest first.
    """

    current: HelpLineVersion | None
    proposed: HelpLineVersion | None
    history: list[HelpLineVersion]
    server_now: datetime


class HelpLineProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole new list."""

    items: Annotated[list[HelpLine], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
