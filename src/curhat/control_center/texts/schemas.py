"""The structs of the operators' API of the texts."""

from datetime import datetime
from typing import Annotated

import msgspec

from curhat.content.texts.kinds import TextKind
from curhat.content.texts.schemas import MAX_BODY_CHARACTERS

# At least one character that is not a space. PostgreSQL cannot store NUL.
Body = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_BODY_CHARACTERS, pattern=r"^\s*[^\x00\s][^\x00]*$")
]


class TextBodies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a text, in Indonesian and in English."""

    id: Body
    en: Body


class TextPublication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new version of a text. `expected_version` is the newest version that the operator saw, 0 if there was none.

    A lawyer has not checked a version with `is_draft`. A draft applies like every other version.
    """

    kind: TextKind
    bodies: TextBodies
    is_draft: bool = False
    expected_version: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None


class TextVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a text. `published_by` is an operator's e-mail, or `curhat seed`."""

    kind: TextKind
    version: int
    is_draft: bool
    published_at: datetime
    published_by: str
    bodies: TextBodies


class CurrentText(msgspec.Struct, frozen=True, kw_only=True):
    """A text, with its newest version. `current` is null if no version is published: then nobody must accept it.

    `accepted` is the number of people who have accepted this version. All of them must accept a new version.
    """

    kind: TextKind
    current: TextVersion | None
    accepted: int


class CurrentTexts(msgspec.Struct, frozen=True):
    """All texts, in the order in which the apps show them."""

    items: list[CurrentText]


class PastVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a text without its bodies."""

    version: int
    is_draft: bool
    published_at: datetime
    published_by: str
