"""The HTTP border: problems, commands with idempotency keys, request ids.

Every operation that creates, charges or decides goes through `command`: it opens the transaction, stores the answer
under the Idempotency-Key, and gives a repeated request the first answer.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotAuthorizedException,
    NotFoundException,
    ValidationException,
)

from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BodyTooLarge, BusinessError, NotFound, Unauthenticated, ValidationFailed
from curhat.kit.idempotency import Answer, IdempotentRequest, idempotent_request, run_idempotent
from curhat.kit.identity import Caller

log = structlog.get_logger(__name__)

JSON = "application/json"
PROBLEM = "application/problem+json"

AnyRequest = Request[Any, Any, Any]

# Where a value is wrong, or which field it is that is missing or unknown, in what msgspec says.
_WHERE: Final = re.compile(r" - at `\$\.?(.+)`$|field `([^`]+)`$")


class StrictRequest(AnyRequest):
    """A request whose body is read as exactly what the operation takes.

    Litestar would take any content type, read any JSON, and then coerce: "null" to no value, "1" to 1.
    """

    async def json(self) -> Any:
        """The body as the type of the handler's `data`. Raises ValidationFailed."""
        if self.content_type[0] != JSON:
            raise _invalid("content-type", f"must be {JSON}")
        wanted = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        try:
            return msgspec.json.decode(await self.body(), type=wanted)
        except msgspec.ValidationError as error:
            message = str(error)
            where = _WHERE.search(message)
            field = "body" if where is None else where[1] or where[2]
            raise _invalid(field, message.partition(" - at `$")[0]) from None
        except (ValueError, RecursionError):  # No JSON, no UTF-8, or nested without end.
            raise _invalid("body", "cannot be read") from None


def _invalid(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(errors=[{"field": field, "message": message}])


async def read_idempotent_request(request: AnyRequest, identity: Caller) -> IdempotentRequest:
    """The request's Idempotency-Key, bound to its sender and to what it says. Raises IdempotencyKeyMissing."""
    return idempotent_request(
        identity,
        request.headers.get("idempotency-key"),
        request.method,
        request.scope["path"],
        await request.body(),
    )


async def command(
    request: AnyRequest,
    database: Database,
    identity: Caller,
    step: Callable[[Transaction], Awaitable[msgspec.Struct | None]],
    *,
    status: int = 200,
) -> Response[bytes]:
    """Run `step` once for this Idempotency-Key and answer with its struct (None: an empty 204).

    Raises what `step` refuses with; the refusal is stored under the key as well.
    """
    idempotent = await read_idempotent_request(request, identity)

    async def step_to_answer(tx: Transaction) -> Answer:
        return to_answer(await step(tx), status)

    return to_response(await run_idempotent(database, idempotent, step_to_answer))


async def command_without_answer(
    request: AnyRequest,
    database: Database,
    identity: Caller,
    step: Callable[[Transaction], Awaitable[None]],
) -> Response[None]:
    """As `command`, for an operation that answers with an empty 204 (a stored refusal still has its body)."""
    return cast("Response[None]", await command(request, database, identity, step, status=204))


def to_answer(result: msgspec.Struct | None, status: int = 200) -> Answer:
    """A struct as a stored answer; None is an empty 204."""
    if result is None:
        return Answer(status=204, body="")
    return Answer(status=status, body=msgspec.json.encode(result).decode())


def to_response(answer: Answer) -> Response[bytes]:
    """A stored answer as an HTTP response."""
    return Response(
        content=answer.body.encode(),
        status_code=answer.status,
        media_type=PROBLEM if answer.status >= 400 else JSON,
    )


def problem_response(error: BusinessError) -> Response[bytes]:
    """A refusal as application/problem+json, with Retry-After where waiting helps."""
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(
        content=msgspec.json.encode(error.problem()),
        status_code=error.status,
        media_type=PROBLEM,
        headers=headers,
    )


def handle_business_error(_request: AnyRequest, error: BusinessError) -> Response[bytes]:
    """Litestar exception handler."""
    return problem_response(error)


class _FrameworkProblem(BusinessError):
    """What the framework refuses before any room is asked (405, 413, …)."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        self.code = code  # type: ignore[misc]
        self.status = status  # type: ignore[misc]
        self.detail = detail  # type: ignore[misc]
        super().__init__()


def handle_http_exception(_request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Litestar exception handler: the framework's own refusals in our form, without echoing input."""
    if isinstance(error, ValidationException):
        return problem_response(ValidationFailed(errors=_validation_errors(error)))
    if isinstance(error, NotFoundException):
        return problem_response(NotFound())
    if isinstance(error, NotAuthorizedException):
        return problem_response(Unauthenticated())
    if isinstance(error, MethodNotAllowedException):
        response = problem_response(
            _FrameworkProblem("method_not_allowed", 405, "This path has no such method.")
        )
        response.headers.update(error.headers or {})
        return response
    if error.status_code == 413:
        return problem_response(BodyTooLarge())
    if error.status_code < 500:
        return problem_response(_invalid("body", "cannot be read"))
    if error.detail == "client disconnected prematurely":
        # Phones lose the network in mid-request all the time: no fault of ours, and nobody reads the answer.
        return problem_response(_FrameworkProblem("client_disconnected", 499, "The client went away."))
    return handle_unexpected(_request, error)


def handle_unexpected(_request: AnyRequest, error: Exception) -> Response[bytes]:
    """Litestar exception handler: a fault of ours. Logged with its trace; the client learns only the code."""
    log.error("request.failed", error=type(error).__name__, exc_info=error)
    return problem_response(
        _FrameworkProblem("internal_error", 500, "Something broke on our side. Try again in a moment.")
    )


def _validation_errors(error: ValidationException) -> list[dict[str, str]]:
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [
        {"field": str(entry.get("key", "body")), "message": str(entry.get("message", "is not valid"))}
        for entry in extra
        if isinstance(entry, dict)
    ]
    return errors or [{"field": "body", "message": "is not valid"}]
