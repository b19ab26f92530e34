"""Reads and changes a mitra's canned answers and notes. Every function takes an open transaction."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.identity import Role
from curhat.kit.visible_text import checked_text
from curhat.notebook import queries
from curhat.notebook.errors import TextChangedMeanwhile
from curhat.notebook.schemas import (
    MAX_ANSWER_CHARACTERS,
    MAX_NOTE_CHARACTERS,
    CannedAnswers,
    CustomerNote,
)


async def canned_answers(tx: Transaction, mitra_id: UUID) -> CannedAnswers:
    """Return the mitra's canned answers."""
    return _list_of(await queries.list_canned_answers(tx, mitra_id=mitra_id))


async def replace_canned_answers(
    tx: Transaction, mitra_id: UUID, texts: Sequence[str], expected_version: str
) -> CannedAnswers:
    """Replace the mitra's list of canned answers, and return the new list.

    Raises ValidationFailed for a text that shows nothing, and for two equal texts. Raises TextChangedMeanwhile if the
    list has another version. If the list already has these texts, as after a repeated request, nothing changes.
    """
    wanted = _list_of(
        [
            checked_text(text, f"texts[{index}]", MAX_ANSWER_CHARACTERS).strip()
            for index, text in enumerate(texts)
        ]
    )
    if len(set(wanted.texts)) < len(wanted.texts):
        raise invalid_field("texts", "must not contain the same text twice", code="repeated")
    await queries.lock_texts_of(tx, owner=str(mitra_id))
    current = await canned_answers(tx, mitra_id)
    if current.version == wanted.version:
        return current
    if current.version != expected_version:
        raise TextChangedMeanwhile(**msgspec.structs.asdict(current))
    await queries.delete_canned_answers(tx, mitra_id=mitra_id)
    await queries.insert_canned_answers(tx, mitra_id=mitra_id, texts=wanted.texts)
    return wanted


async def note_about(tx: Transaction, mitra_id: UUID, session_id: UUID) -> CustomerNote:
    """Return the mitra's note about the customer of this session.

    Raises NotFound if the session does not exist or belongs to another mitra.
    """
    return await _read_note(tx, mitra_id, await _customer_of(tx, mitra_id, session_id))


async def change_note(
    tx: Transaction, mitra_id: UUID, session_id: UUID, text: str, expected_version: str
) -> CustomerNote:
    """Write the mitra's note about the customer of this session, and return the note. An empty text deletes the note.

    Raises NotFound, ValidationFailed, and TextChangedMeanwhile if the note has another version. If the note already has
    this text, as after a repeated request, nothing changes.
    """
    text = "" if text == "" else checked_text(text, "text", MAX_NOTE_CHARACTERS).strip()
    customer_id = await _customer_of(tx, mitra_id, session_id)
    await queries.lock_texts_of(tx, owner=f"{mitra_id} about {customer_id}")
    current = await _read_note(tx, mitra_id, customer_id)
    if current.text == text:
        return current
    if current.version != expected_version:
        raise TextChangedMeanwhile(**msgspec.structs.asdict(current))
    if text == "":
        await queries.delete_note(tx, customer_id=customer_id, mitra_id=mitra_id)
        return _note_of("", None)
    changed = await queries.write_note(tx, customer_id=customer_id, mitra_id=mitra_id, text=text)
    return _note_of(text, changed)


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the notes about a deleted customer, or the notes and canned answers of a deleted mitra.

    Returns False: nothing is left.
    """
    await queries.delete_notes_of(tx, role=role, user_id=user_id)
    if role == "mitra":
        await queries.delete_canned_answers(tx, mitra_id=user_id)
    return False


async def _customer_of(tx: Transaction, mitra_id: UUID, session_id: UUID) -> UUID:
    customer_id = await queries.find_customer_of_session(tx, session_id=session_id, mitra_id=mitra_id)
    if customer_id is None:
        raise NotFound
    return customer_id


async def _read_note(tx: Transaction, mitra_id: UUID, customer_id: UUID) -> CustomerNote:
    row = await queries.read_note(tx, customer_id=customer_id, mitra_id=mitra_id)
    return _note_of("", None) if row is None else _note_of(row.text, row.updated_at)


def _note_of(text: str, updated_at: datetime | None) -> CustomerNote:
    return CustomerNote(text=text, updated_at=updated_at, version=_version_of([text]))


def _list_of(texts: list[str]) -> CannedAnswers:
    return CannedAnswers(texts=texts, version=_version_of(texts))


def _version_of(texts: Sequence[str]) -> str:
    """Return a text that is the same for the same texts in the same order only."""
    return hashlib.sha256(msgspec.json.encode(texts)).hexdigest()[:32]
