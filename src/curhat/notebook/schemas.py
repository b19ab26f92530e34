"""The bodies of the operations on canned answers and notes.

The patterns refuse NUL, which PostgreSQL cannot store. `kit.visible_text` knows every other invisible character.
"""

from datetime import datetime
from typing import Annotated

import msgspec

MAX_ANSWERS = 30
MAX_ANSWER_CHARACTERS = 500
MAX_NOTE_CHARACTERS = 2000

AnswerText = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_ANSWER_CHARACTERS, pattern=r"^\s*[^\x00\s][^\x00]*$")
]
NoteText = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS, pattern=r"^[^\x00]*$")]
Version = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00]*$")]


class CannedAnswers(msgspec.Struct, frozen=True):
    """The mitra's canned answers in the mitra's order. `version` identifies these texts in this order."""

    texts: list[str]
    version: str


class CannedAnswersChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new list, which replaces the old one. `expected_version` is the version of the old list."""

    texts: Annotated[list[AnswerText], msgspec.Meta(max_length=MAX_ANSWERS)]
    expected_version: Version


class CustomerNote(msgspec.Struct, frozen=True):
    """The mitra's note about the customer of a session. Without a note, `text` is empty and `updated_at` is null."""

    text: str
    updated_at: datetime | None
    version: str


class CustomerNoteChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new text of the note. An empty text deletes the note. `expected_version` is the version that was changed."""

    text: NoteText
    expected_version: Version
