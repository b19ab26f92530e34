"""The pieces of an export, in the order in which a writer gets them.

An export is a profile, then sections. A section has items. An item of the section `chats` has messages.
"""

from typing import Literal, TypeAlias

import msgspec

from curhat.privacy.export.schemas import (
    ExportedBlock,
    ExportedChat,
    ExportedMessage,
    ExportedPayment,
    ExportedProfile,
    ExportedReport,
)

SectionName = Literal["payments", "chats", "reports", "blocks"]
Item: TypeAlias = ExportedPayment | ExportedReport | ExportedBlock


class SectionBegan(msgspec.Struct, frozen=True):
    """The following items belong to this section."""

    name: SectionName


class SectionEnded(msgspec.Struct, frozen=True):
    """The section is complete."""


class ChatBegan(msgspec.Struct, frozen=True):
    """The following messages belong to this chat."""

    chat: ExportedChat


class ChatEnded(msgspec.Struct, frozen=True):
    """The chat is complete."""


Piece: TypeAlias = (
    ExportedProfile | SectionBegan | SectionEnded | Item | ChatBegan | ExportedMessage | ChatEnded
)
