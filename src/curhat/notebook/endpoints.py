"""The HTTP operations on a mitra's canned answers and notes. A customer and an operator have no such operation."""

from uuid import UUID

from litestar import get, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, answers
from curhat.notebook import service
from curhat.notebook.errors import TextChangedMeanwhile
from curhat.notebook.schemas import CannedAnswers, CannedAnswersChange, CustomerNote, CustomerNoteChange

Mitra = NamedDependency[Identity]


@get("/api/mitra/canned-answers", responses=answers({200: CannedAnswers}, *MITRA_SIGNED_IN))
async def list_canned_answers(database: NamedDependency[Database], mitra: Mitra) -> CannedAnswers:
    """Return the mitra's own short texts, in the mitra's order."""
    async with database.transaction() as tx:
        return await service.canned_answers(tx, mitra.user_id)


@put(
    "/api/mitra/canned-answers",
    responses=answers({200: CannedAnswers}, *MITRA_SIGNED_IN, ValidationFailed, TextChangedMeanwhile),
)
async def change_canned_answers(
    database: NamedDependency[Database], mitra: Mitra, data: JSONBody[CannedAnswersChange]
) -> CannedAnswers:
    """Replace the whole list: at most 30 texts of at most 500 characters.

    Send `expected_version` with the version that you read. If the list has changed meanwhile, nothing changes, and the
    error has the present list. A repeated request changes nothing.
    """
    async with database.transaction() as tx:
        return await service.replace_canned_answers(tx, mitra.user_id, data.texts, data.expected_version)


@get(
    "/api/mitra/sessions/{session_id:uuid}/note",
    responses=answers({200: CustomerNote}, *MITRA_SIGNED_IN, NotFound),
)
async def get_customer_note(
    database: NamedDependency[Database], mitra: Mitra, session_id: FromPath[UUID]
) -> CustomerNote:
    """Return the mitra's private note about the customer of this session. All sessions of the two share the note."""
    async with database.transaction() as tx:
        return await service.note_about(tx, mitra.user_id, session_id)


@put(
    "/api/mitra/sessions/{session_id:uuid}/note",
    responses=answers(
        {200: CustomerNote}, *MITRA_SIGNED_IN, NotFound, ValidationFailed, TextChangedMeanwhile
    ),
)
async def change_customer_note(
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[CustomerNoteChange],
) -> CustomerNote:
    """Write the private note about the customer of this session, at most 2,000 characters. Only this mitra reads it.

    An empty text deletes the note. `expected_version` works as for the canned answers.
    """
    async with database.transaction() as tx:
        return await service.change_note(tx, mitra.user_id, session_id, data.text, data.expected_version)


ROUTES: list[BaseRouteHandler] = [
    list_canned_answers,
    change_canned_answers,
    get_customer_note,
    change_customer_note,
]
