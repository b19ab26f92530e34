"""HTTP: reads request bodies, runs commands once per Idempotency-Key, and turns errors into problem+json.

Most operations that create, charge or decide something call `command`. `command` opens the transaction, and stores the
answer under the Idempotency-Key. A repeated request gets the stored answer. The operations of this kind that do not
call `command` call kit/idempotency.py directly.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

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

from curhat.kit.database import CommitUnknown, Database, Transaction, is_away, is_busy
from curhat.kit.errors import (
    BodyTooLarge,
    BusinessError,
    ClientDisconnected,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    Unauthenticated,
    ValidationFailed,
    invalid_field,
)
from curhat.kit.idempotency import Answer, IdempotentRequest, idempotent_request, run_idempotent
from curhat.kit.identity import Caller
from curhat.kit.nul import field_with_nul
from curhat.kit.refusals import REFUSALS, refused

log = structlog.get_logger(__name__)

JSON = "application/json"
PROBLEM = "application/problem+json"

# How soon a client can repeat a request that failed because PostgreSQL was away.
DATABASE_RETRY_AFTER_SECONDS: Final = 2

AnyRequest = Request[Any, Any, Any]

# Matches the end of a msgspec error's text. Group 1 is the path of a wrong value, or of an object with a wrong key.
# Group 2 is the name of a missing or unknown field.
_WHERE: Final = re.compile(r" - at (?:`key` in )?`\$\.?(.+)`$|field `([^`]+)`$")


class StrictRequest(AnyRequest):
    """A request whose body must be JSON, and must match the type of the operation's `data` exactly.

    Litestar's own class accepts any content type. Litestar's own class also converts values, for example "null" to None
    and "1" to 1.
    """

    async def json(self) -> Any:
        """Decode the body as the type of the handler's `data`. Raises ValidationFailed."""
        if self.content_type[0] != JSON:
            raise invalid_field("content-type", f"must be {JSON}")
        wanted = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        body = await self.body()
        try:
            data = msgspec.json.decode(body, type=wanted)
            nul = field_with_nul(body)
        except msgspec.ValidationError as error:
            message = str(error)
            where = _WHERE.search(message)
            field = "body" if where is None else where[1] or where[2]
            raise invalid_field(field, message.partition(" - at `")[0]) from None
        except (ValueError, RecursionError):  # Not JSON, not UTF-8, or nested too deeply.
            raise invalid_field("body", "cannot be read") from None
        if nul is not None:
            raise invalid_field(nul, "contains the character NUL")
        return data


async def read_idempotent_request(request: AnyRequest, identity: Caller) -> IdempotentRequest:
    """Read the Idempotency-Key, and bind it to the request's sender, method, path and body.

    Raises IdempotencyKeyMissing.
    """
    key = request.headers.get("idempotency-key")
    return idempotent_request(identity, key, request.method, request.scope["path"], await request.body())


async def command(
    request: AnyRequest,
    database: Database,
    identity: Caller,
    step: Callable[[Transaction], Awaitable[msgspec.Struct | None]],
    *,
    status: int = 200,
) -> Response[Any]:
    """Run `step` once per Idempotency-Key. Respond with the struct that `step` returns.

    If `step` returns None, the response is an empty 204.
    Raises IdempotencyKeyMissing, the errors of run_idempotent, and the errors of `step`. A refusal (4xx) that `step`
    raises is also stored under the key.
    """
    idempotent = await read_idempotent_request(request, identity)

    async def step_to_answer(tx: Transaction) -> Answer:
        return to_answer(await step(tx), status)

    return to_response(await run_idempotent(database, idempotent, step_to_answer))


def to_answer(result: msgspec.Struct | None, status: int = 200) -> Answer:
    """Return the answer to store for `result`. If `result` is None, return an empty 204."""
    if result is None:
        return Answer(status=204, body="")
    return Answer(status=status, body=msgspec.json.encode(result).decode())


class _Coded(msgspec.Struct):
    """The part of a stored refusal that the metric needs."""

    code: str


def to_response(answer: Answer) -> Response[bytes]:
    """Turn a stored answer into an HTTP response."""
    if answer.status >= 400:
        REFUSALS.labels(msgspec.json.decode(answer.body, type=_Coded).code).inc()
    return Response(
        content=answer.body.encode(),
        status_code=answer.status,
        media_type=PROBLEM if answer.status >= 400 else JSON,
    )


def handle_business_error(request: AnyRequest, error: BusinessError) -> Response[bytes]:
    """Litestar exception handler: turn a refusal into application/problem+json.

    If the refusal has `retry_after_seconds`, the response has the header Retry-After.
    """
    client = request.scope.get("client")
    refused(
        error.code,
        error.status,
        method=request.scope["method"],
        operation=request.scope.get("path_template"),
        address=None if client is None else client[0],
    )
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(
        content=msgspec.json.encode(error.problem()),
        status_code=error.status,
        media_type=PROBLEM,
        headers=headers,
    )


def handle_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Litestar exception handler: turn the framework's errors into problems that do not repeat the client's input."""
    if isinstance(error, ValidationException):
        return handle_business_error(request, ValidationFailed(errors=_validation_errors(error)))
    if isinstance(error, NotFoundException):
        return handle_business_error(request, NotFound())
    if isinstance(error, NotAuthorizedException):
        return handle_business_error(request, Unauthenticated())
    if isinstance(error, MethodNotAllowedException):
        response = handle_business_error(request, MethodNotAllowed())
        response.headers.update(error.headers or {})
        return response
    if error.status_code == 413:
        return handle_business_error(request, BodyTooLarge())
    if error.status_code < 500:
        return handle_business_error(request, invalid_field("body", "cannot be read"))
    if error.detail == "client disconnected prematurely":
        # Phones often lose the network during a request. A lost network is no bug in our code, so do not log an error.
        return handle_business_error(request, ClientDisconnected())
    return handle_unexpected(request, error)


def handle_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Litestar exception handler for an unreachable database, and for our own bugs.

    For a bug, the log gets the traceback. The client gets only the code.
    """
    return handle_business_error(request, refusal_of(error))


def refusal_of(error: BaseException) -> BusinessError:
    """Return the refusal that a client gets for this error. If the error is not a refusal, log the error."""
    if isinstance(error, BusinessError):
        return error
    if is_away(error) or is_busy(error):
        log.warning("request.database_away", error=type(error).__name__)
        return ServiceUnavailable(
            retry_after_seconds=DATABASE_RETRY_AFTER_SECONDS,
            outcome="unknown" if isinstance(error, CommitUnknown) else None,
        )
    log.error("request.failed", error=type(error).__name__, exc_info=error)
    return InternalError()


def _validation_errors(error: ValidationException) -> list[dict[str, str]]:
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [
        {"field": str(entry.get("key", "body")), "message": str(entry.get("message", "is not valid"))}
        for entry in extra
        if isinstance(entry, dict)
    ]
    return errors or [{"field": "body", "message": "is not valid"}]
