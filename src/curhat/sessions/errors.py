"""What the sessions room refuses."""

from curhat.kit.errors import BusinessError


class SessionEnded(BusinessError):
    code = "session_ended"
    status = 409
    detail = "This chat is over: nothing can be sent or changed in it any more. It stays in the history."
