"""The refusals that this package raises."""

from curhat.kit.errors import BusinessError


class ExtensionPending(BusinessError):
    """Fields: extension_id."""

    code = "extension_pending"
    status = 409
    detail = "An extension of this chat waits for its answer already. Nothing new was asked for."


class ExtensionDecided(BusinessError):
    """Fields: extension_status, decided_by."""

    code = "extension_decided"
    status = 409
    detail = "This extension is decided already, or the time to answer is over: look at what became of it."


class SessionEnded(BusinessError):
    code = "session_ended"
    status = 409
    detail = "This chat is over: nothing can be sent or changed in it any more. It stays in the history."
