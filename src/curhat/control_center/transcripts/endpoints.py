"""The endpoints of looks at chats. The endpoints open the transactions."""

from typing import Final
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.transcripts import service
from curhat.control_center.transcripts.errors import ApprovalNeeded, OwnTranscript, TranscriptApproved
from curhat.control_center.transcripts.schemas import (
    Transcript,
    TranscriptOrder,
    TranscriptRequest,
    TranscriptRequests,
)
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers

RECORDS: Final = ["records"]


@post(
    "/api/control-center/sessions/{session_id:uuid}/transcript",
    operation_id="reveal_transcript",
    tags=RECORDS,
    status_code=200,
    opt=needs("reveal"),
    responses=answers({200: Transcript}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed, ApprovalNeeded),
)
async def reveal_transcript(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    session_id: FromPath[UUID],
    data: JSONBody[TranscriptOrder],
) -> Transcript:
    """The messages of the session. Each call needs a reason and a ground, which the audit records (P.8).

    A report, concern or case of the session is taken as the ground, unless the operator names another. Without any, the
    answer is 409 `approval_needed` with the id of the request: once another operator has approved it, the asking
    operator can read the chat for 24 hours. The server does not keep the answer.
    """
    async with database.transaction() as tx:
        revealed = await service.reveal(tx, operator, session_id, data)
    if isinstance(revealed, ApprovalNeeded):
        raise revealed
    return revealed


@get(
    "/api/control-center/transcripts",
    operation_id="list_transcript_requests",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: TranscriptRequests}, *OPERATOR_SIGNED_IN),
)
async def list_transcript_requests(database: NamedDependency[Database]) -> TranscriptRequests:
    """The requests to read a chat that wait for another operator, and those approved within 24 hours."""
    async with database.transaction() as tx:
        return await service.read_requests(tx)


@post(
    "/api/control-center/transcripts/{transcript_id:uuid}/approval",
    operation_id="approve_transcript",
    tags=RECORDS,
    status_code=200,
    opt=needs("reveal"),
    responses=answers(
        {200: TranscriptRequest}, *OPERATOR_WITH_KEY, NotFound, OwnTranscript, TranscriptApproved
    ),
)
async def approve_transcript(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    transcript_id: FromPath[UUID],
) -> Response[bytes]:
    """Approve another operator's look at a chat. The asking operator can then read the chat for 24 hours."""
    return await command(
        request, database, operator.identity, lambda tx: service.approve(tx, operator, transcript_id)
    )


ROUTES: list[BaseRouteHandler] = [reveal_transcript, list_transcript_requests, approve_transcript]
