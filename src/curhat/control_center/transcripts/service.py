"""Reads chats for operators. Every function takes an open transaction and never commits it."""

from typing import Final
from uuid import UUID

from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.schemas import OperatorReference, from_row, operator_reference
from curhat.control_center.transcripts import queries
from curhat.control_center.transcripts.errors import ApprovalNeeded, OwnTranscript, TranscriptApproved
from curhat.control_center.transcripts.queries import TranscriptRequestRow
from curhat.control_center.transcripts.schemas import (
    MAX_REASON_CHARACTERS,
    NamedGround,
    Transcript,
    TranscriptGround,
    TranscriptMessage,
    TranscriptOrder,
    TranscriptRequest,
    TranscriptRequests,
)
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.visible_text import checked_text

# The maximum number of messages in one answer. Two people who type for eight hours without a pause write fewer messages
# than MAX_TRANSCRIPT_MESSAGES.
MAX_TRANSCRIPT_MESSAGES: Final = 20_000
MAX_REQUESTS_SHOWN: Final = 100
# How long an operator can read a chat after another operator has approved it.
APPROVAL_VALID_SECONDS: Final = 24 * 3600
# How long a request waits for an approval.
REQUEST_WAITS_SECONDS: Final = 7 * 24 * 3600


async def reveal(
    tx: Transaction, operator: SignedInOperator, session_id: UUID, order: TranscriptOrder
) -> Transcript | ApprovalNeeded:
    """Read the messages of a session, and write the ground and the reason to the audit (P.8).

    Without a ground, the function records a request and returns ApprovalNeeded. The caller must commit the transaction
    and then raise the returned error. Raises ValidationFailed. Raises NotFound if there is no such session, or if the
    named report, concern or case is not of this session.
    """
    reason = checked_text(order.reason, "reason", MAX_REASON_CHARACTERS).strip()
    if await queries.find_session(tx, session_id=session_id) is None:
        raise NotFound
    ground = await _find_ground(tx, operator, session_id, order.ground)
    if ground is None:
        request_id = await queries.insert_transcript_request(
            tx, session_id=session_id, operator_id=operator.id, reason=reason
        )
        await write_audit_entry(tx, operator.id, "transcript_requested", "session", session_id, new=reason)
        return ApprovalNeeded(transcript_id=str(request_id))
    named = ground.kind if ground.id is None else f"{ground.kind} {ground.id}"
    await write_audit_entry(
        tx, operator.id, "transcript_revealed", "session", session_id, new=f"{named}: {reason}"
    )
    rows = await queries.read_messages(tx, session_id=session_id, max_messages=MAX_TRANSCRIPT_MESSAGES)
    return Transcript(session_id, [from_row(TranscriptMessage, row) for row in rows], ground)


async def _find_ground(
    tx: Transaction, operator: SignedInOperator, session_id: UUID, named: NamedGround | None
) -> TranscriptGround | None:
    """Return the ground of the look, or None if another operator must approve it."""
    if named is not None and named.kind == "legal_order":
        if named.id is not None:
            raise invalid_field("ground.id", "must be left out: the reason names the legal order")
        return TranscriptGround("legal_order", None)
    for ground in await queries.list_grounds(tx, session_id=session_id):
        if named is None or (ground.kind == named.kind and named.id in (None, ground.id)):
            return TranscriptGround(ground.kind, ground.id)
    if named is not None and named.id is not None:
        raise NotFound
    approved = await queries.find_approved_request(
        tx, operator_id=operator.id, session_id=session_id, valid_seconds=APPROVAL_VALID_SECONDS
    )
    return None if approved is None else TranscriptGround("approval", approved)


async def approve(tx: Transaction, operator: SignedInOperator, request_id: UUID) -> TranscriptRequest:
    """Approve another operator's look at a chat (waiting → approved). A repeated call changes nothing.

    Raises NotFound if the request does not exist or has waited too long. Raises OwnTranscript, TranscriptApproved.
    """
    request = await queries.lock_transcript_request(
        tx, request_id=request_id, waits_seconds=REQUEST_WAITS_SECONDS
    )
    if request is None:
        raise NotFound
    if request.requested_by == operator.id:
        raise OwnTranscript
    if request.approved_by not in (None, operator.id):
        raise TranscriptApproved
    if request.approved_by is None:
        await queries.approve_transcript_request(tx, request_id=request_id, operator_id=operator.id)
        await write_audit_entry(
            tx, operator.id, "transcript_approved", "session", request.session_id, new=str(request_id)
        )
    (row,) = await _read(tx, [request_id])
    return _request(row)


async def read_requests(tx: Transaction) -> TranscriptRequests:
    """Read the requests that wait, and those that were approved within 24 hours."""
    return TranscriptRequests([_request(row) for row in await _read(tx, None)])


async def _read(tx: Transaction, ids: list[UUID] | None) -> list[TranscriptRequestRow]:
    return await queries.list_transcript_requests(
        tx,
        ids=ids,
        waits_seconds=REQUEST_WAITS_SECONDS,
        valid_seconds=APPROVAL_VALID_SECONDS,
        max_requests=MAX_REQUESTS_SHOWN,
    )


def _request(row: TranscriptRequestRow) -> TranscriptRequest:
    return from_row(
        TranscriptRequest,
        row,
        requested_by=OperatorReference(id=row.requested_by, email=row.requested_by_email),
        approved_by=operator_reference(row.approved_by, row.approved_by_email),
    )
