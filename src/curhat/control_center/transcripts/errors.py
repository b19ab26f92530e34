"""The errors with which a look at a chat is refused."""

from curhat.kit.errors import BusinessError


class ApprovalNeeded(BusinessError):
    """The field of the error is transcript_id, the id of the request that waits."""

    code = "approval_needed"
    status = 409
    detail = "This chat has no report, concern or case. Another operator must approve the look first."


class OwnTranscript(BusinessError):
    code = "own_transcript"
    status = 403
    detail = "Nobody approves the own look at a chat. Ask another operator."


class TranscriptApproved(BusinessError):
    code = "transcript_approved"
    status = 409
    detail = "Another operator has approved this already."
