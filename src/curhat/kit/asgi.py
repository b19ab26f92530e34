"""The types of ASGI, the interface between a server and an application. Refusals without the web framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal

import msgspec

from curhat.kit.errors import BusinessError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# SECURITY_HEADERS tell a browser not to guess an answer's type, show the answer in a frame, or store the answer. Two
# kinds of answers do not have these headers. A file of a web client has its own security headers. If code outside the
# API fails, uvicorn answers with a plain 500.
SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def problem_of(error: BusinessError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body of the answer that reports a refusal."""
    body = msgspec.json.encode(error.problem())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *SECURITY_HEADERS,
    ]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    return headers, body


async def send_problem(
    send: Send,
    error: BusinessError,
    prefix: Literal["http.response", "websocket.http.response"] = "http.response",
) -> None:
    """Answer a request, or the handshake of a socket, with a refusal."""
    headers, body = problem_of(error)
    await send({"type": f"{prefix}.start", "status": error.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
