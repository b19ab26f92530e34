"""The structs of the HTTP API of the texts."""

from datetime import datetime
from typing import Annotated

import msgspec

from curhat.content.texts.kinds import Language, TextKind

MAX_BODY_CHARACTERS = 20_000

TextVersionNumber = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class TextToAccept(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a text that this person must accept. `accepted_at` is null until the person accepts it.

    `body` has one paragraph, heading or list item per line. A line that begins with `# ` or `## ` is a heading. A line
    that begins with `- ` is a list item. Empty lines separate.
    """

    kind: TextKind
    version: int
    language: Language
    body: str
    is_draft: bool
    published_at: datetime
    accepted_at: datetime | None = None


class TextsToAccept(msgspec.Struct, frozen=True):
    """The texts in the order in which an app shows them. `is_adult` is false until the person has said to be an adult.

    An app asks for the year of birth before the first acceptance, as long as `is_adult` is false.
    """

    items: list[TextToAccept]
    is_adult: bool


class PublicText(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a text. The lines of `body` have the form that they have in TextToAccept."""

    kind: TextKind
    version: int
    language: Language
    body: str
    is_draft: bool
    published_at: datetime


class PublicTexts(msgspec.Struct, frozen=True):
    """All published texts, for somebody who has not signed in."""

    items: list[PublicText]


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The acceptance of one version. `birth_year` belongs only to the terms. It is checked, and not kept (P.2)."""

    kind: TextKind
    version: TextVersionNumber
    birth_year: Annotated[int, msgspec.Meta(ge=1900, le=2200)] | None = None
