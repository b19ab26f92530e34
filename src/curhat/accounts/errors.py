"""The errors with which this package refuses a request."""

from curhat.kit.errors import BusinessError


class CodeInvalid(BusinessError):
    """The code is wrong, expired, used or mistyped too often, or its request is unknown.

    The error does not say which of these reasons applies.
    """

    code = "code_invalid"
    status = 401
    detail = "The code is wrong, too old or used. Check it, or ask for a new one."


class FreshCodeMissing(BusinessError):
    """The operation needs a fresh one-time code, and the request has none."""

    code = "fresh_code_missing"
    status = 401
    detail = (
        "Ask for a one-time code to your own phone, and send it in the header X-Fresh-Code: "
        "the request_id, a colon, the code."
    )


class CallNameRequired(BusinessError):
    code = "call_name_required"
    status = 422
    detail = (
        "The code is right and still good. Send it again together with the name you want to be called by."
    )


class NotInvited(BusinessError):
    code = "not_invited"
    status = 403
    detail = "This number was not invited as a bestie. Ask the operators for an invitation."


class CodeNotSent(BusinessError):
    """No code was sent: every sender failed, too many codes are being sent, or the day's ceiling is reached.

    The error does not name the reason, and does not depend on whether the number is known.
    """

    code = "code_not_sent"
    status = 503
    detail = "We cannot send codes right now. Try again after the time in Retry-After."
