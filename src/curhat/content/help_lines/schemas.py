"""The structs of the help lines."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

MIN_LINES = 3
MIN_PROVIDERS = 2
MAX_ITEMS = 12
MAX_CHANNELS = 4

_NO_NUL = r"^[^\x00]*$"

ItemId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
ItemKind = Literal["line", "step"]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=_NO_NUL)]
LongText = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=_NO_NUL)]
Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}$")]
VerifiedAt = Annotated[datetime, msgspec.Meta(tz=True)]


class BothLanguages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in Indonesian and in English."""

    id: LongText
    en: LongText


class HelpChannel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to reach a line.

    `call`: the number as people write it; a comma is a pause before the digits after it. `whatsapp`: the number in
    international form. `web`: an https address.
    """

    kind: Literal["call", "whatsapp", "web"]
    value: Annotated[str, msgspec.Meta(min_length=2, max_length=120, pattern=_NO_NUL)]


class HelpLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line, or a step that needs no line (`kind`). A step has no channel.

    `hours`, `note`: null if nothing is known. `language`: the language in which the line answers. `is_free`: null if it
    is not certain. `verified_at`: when somebody last called the line and was answered; null if nobody has.
    `source`: where the facts come from.
    """

    id: ItemId
    kind: ItemKind
    name: ShortText
    provider: ShortText
    what_for: BothLanguages
    channels: Annotated[list[HelpChannel], msgspec.Meta(max_length=MAX_CHANNELS)]
    hours: BothLanguages | None
    region: BothLanguages
    language: Language
    is_free: bool | None
    note: BothLanguages | None
    verified_at: VerifiedAt | None
    source: LongText


class HelpLines(msgspec.Struct, frozen=True):
    """The current version of the help lines."""

    version: int
    published_at: datetime
    items: list[HelpLine]
