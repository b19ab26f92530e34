"""The refusals that clients get, and the JSON body of a refusal (RFC 9457).

Each refusal is a subclass of BusinessError. Each refusal has a stable `code` that clients compare, an HTTP status, and
one sentence. The `fields` of an instance hold ids and other values for the client. If the block of a transaction raises
a BusinessError, the transaction is rolled back.
"""

import math
from typing import Any, ClassVar

from curhat.kit.refusals import LIMITED


class BusinessError(Exception):
    """A refusal. Each subclass sets `code`, `status` and `detail`."""

    code: ClassVar[str]
    status: ClassVar[int]
    detail: ClassVar[str]

    def __init__(self, *, retry_after_seconds: int | None = None, **fields: Any) -> None:
        super().__init__(self.code)
        self.retry_after_seconds = retry_after_seconds
        self.fields = fields

    def problem(self) -> dict[str, Any]:
        """Return the body of RFC 9457: type, title, status, detail, code, and this error's own fields."""
        return {
            "type": f"urn:curhat:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **{name: value for name, value in self.fields.items() if value is not None},
        }


class Unauthenticated(BusinessError):
    code = "unauthenticated"
    status = 401
    detail = "Sign in first: the token is missing, unknown, expired or revoked."


class Forbidden(BusinessError):
    code = "forbidden"
    status = 403
    detail = "This account may not do that."


class Suspended(BusinessError):
    code = "suspended"
    status = 403
    detail = "This account is suspended. The operators can tell you why."


class AcknowledgementNeeded(BusinessError):
    """The field of the error is notice_ids, the warnings to acknowledge."""

    code = "acknowledgement_needed"
    status = 409
    detail = "There is a warning for you. Read and acknowledge it first."


class NotFound(BusinessError):
    """The row does not exist, or it belongs to another user.

    A client cannot distinguish a missing row from another user's row.
    """

    code = "not_found"
    status = 404
    detail = "There is no such thing here."


class MethodNotAllowed(BusinessError):
    code = "method_not_allowed"
    status = 405
    detail = "This path has no such method."


class ValidationFailed(BusinessError):
    code = "validation_failed"
    status = 422
    detail = "Some fields are not as they must be; `errors` names them."


def invalid_field(field: str, message: str, *, code: str | None = None) -> ValidationFailed:
    """Return a ValidationFailed whose `errors` has one entry, for `field`.

    `message` describes the fault, and continues a sentence that begins with the field's name, such as "is not a phone
    number". `code` names the fault, for clients that have their own sentence for the fault.
    """
    error = {"field": field, "message": message}
    return ValidationFailed(errors=[error if code is None else {**error, "code": code}])


class BodyTooLarge(BusinessError):
    code = "body_too_large"
    status = 413
    detail = "The body is larger than this service accepts."


class TooManyRequests(BusinessError):
    code = "too_many_requests"
    status = 429
    detail = "Too many tries. Wait as long as Retry-After says, then try again."


def too_many_until(wait_seconds: float) -> TooManyRequests:
    """Return a TooManyRequests that asks the client to wait for `wait_seconds`, rounded up to whole seconds."""
    LIMITED.labels("person").inc()
    return TooManyRequests(retry_after_seconds=max(1, math.ceil(wait_seconds)))


class PresenceUnknown(BusinessError):
    """Valkey did not answer, so the server does not know which mitras are reachable.

    No step that depends on presence can begin.
    """

    code = "presence_unknown"
    status = 503
    detail = "We cannot see right now who is available. Nothing was charged. Try again in a moment."


class ServiceUnavailable(BusinessError):
    """PostgreSQL cannot be reached, cannot write, or is too busy.

    The field `outcome` is "unknown" if a commit was sent and its answer was lost. Even without `outcome`, some steps of
    a request have perhaps taken effect already. So the text `detail` never says that nothing happened.
    """

    code = "service_unavailable"
    status = 503
    detail = (
        "Our database does not answer, so it is not known whether this took effect. "
        "Repeat the request with the same Idempotency-Key: it takes effect once."
    )


class IdempotencyKeyMissing(BusinessError):
    code = "idempotency_key_missing"
    status = 400
    detail = "Send an Idempotency-Key header of 1 to 200 characters: a new one for each new intention."


class IdempotencyKeyReused(BusinessError):
    code = "idempotency_key_reused"
    status = 409
    detail = "This Idempotency-Key was used for another request. Take a new one."


class IdempotencyInProgress(BusinessError):
    code = "idempotency_in_progress"
    status = 409
    detail = "The first request with this Idempotency-Key still runs. Ask again in a moment."


class ClientDisconnected(BusinessError):
    """The client closed the connection during its request. Nobody reads this answer."""

    code = "client_disconnected"
    status = 499
    detail = "The client went away."


class InternalError(BusinessError):
    """A fault in our code. The log has the details."""

    code = "internal_error"
    status = 500
    detail = "Something broke on our side. Try again in a moment."
