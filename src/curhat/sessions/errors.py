"""The refusals that this package raises."""

from curhat.kit.errors import BusinessError


class ExtensionPending(BusinessError):
    """Fields: extension_id."""

    code = "extension_pending"
    status = 409
    detail = "An extension of this chat waits for its answer already. Nothing new was asked for."


class TermsChanged(BusinessError):
    """Fields: default_action."""

    code = "terms_changed"
    status = 409
    detail = "What silence means has just changed. Nothing was asked for: look at the new terms first."


class ExtensionDecided(BusinessError):
    """Fields: extension_status, decided_by."""

    code = "extension_decided"
    status = 409
    detail = "This extension is decided already, or the time to answer is over: look at what became of it."


class SessionEnded(BusinessError):
    code = "session_ended"
    status = 409
    detail = "This chat is over: nothing can be sent or changed in it any more. It stays in the history."


class MitraNotAway(BusinessError):
    """Fields: mitra_connected, review_possible_at."""

    code = "mitra_not_away"
    status = 409
    detail = (
        "The bestie is connected, or was away for less than a minute. Nothing was ended: the chat goes on."
    )


class ChatRuns(BusinessError):
    code = "chat_runs"
    status = 409
    detail = "This chat still runs. End it first, then delete it. Nothing was deleted."
