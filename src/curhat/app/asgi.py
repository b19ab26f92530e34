"""One server process serves the availability poll, the files of the web clients, the sockets and the API."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog
from prometheus_client import Histogram

from curhat.accounts import cookies
from curhat.accounts.address_limit import RequestLimit
from curhat.accounts.service import KNOWN_DEVICE_SECONDS, TOKEN_VALID_SECONDS
from curhat.app.api import build_api
from curhat.app.callers import Callers
from curhat.app.operations.endpoints import PATHS, Operations, operations_port
from curhat.app.static_files import StaticFiles, web_folder
from curhat.app.wiring import Services, StoppedWaiting, open_services
from curhat.control_center.operators.service import TOKEN_LIFETIME_SECONDS
from curhat.kit.asgi import SECURITY_HEADERS, Application, Message, Receive, Scope, Send, send_problem
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.identity import AnyRole
from curhat.kit.settings import Settings
from curhat.payments.endpoints import WEBHOOK_PATH
from curhat.presence.availability_poll import AvailabilityPoll
from curhat.realtime.endpoint import RealtimeEndpoint

if TYPE_CHECKING:
    from litestar.datastructures import Cookie

log = structlog.get_logger(__name__)

REQUESTS = Histogram(
    "curhat_http_request_seconds",
    "Requests by operation and status",
    ["method", "path", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10),
)
ROLES_OF_CLIENTS: Final[Mapping[str, AnyRole]] = {
    "app": "customer",
    "mitra": "mitra",
    "control-center": "operator",
}
# How long the cookie with each role's token lives.
COOKIE_SECONDS: Final[Mapping[AnyRole, int]] = {
    "customer": TOKEN_VALID_SECONDS,
    "mitra": TOKEN_VALID_SECONDS,
    "operator": TOKEN_LIFETIME_SECONDS,
}
CORRELATION_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")


class Server:
    """The ASGI application of a server process.

    The application opens the Services when the process starts, and closes the Services when the process stops.
    """

    def __init__(self, settings: Settings, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Make the application. `should_stop` returns True if the process was told to stop during its start."""
        self._settings = settings
        self._should_stop = should_stop
        self.stopped_while_waiting = False
        self.operations = Operations("server")
        self._services: Services | None = None
        # `_lifespan` sets `_serve` before uvicorn accepts connections.
        self._serve: Application

    @property
    def services(self) -> Services:
        """The Services of this process. Raises RuntimeError before the startup and after the shutdown."""
        if self._services is None:
            raise RuntimeError("the server has not started")
        return self._services

    @property
    def is_serving(self) -> bool:
        """Whether the Services of this process are open."""
        return self._services is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        started = False
        try:
            async with (
                # While open_services waits for PostgreSQL, the operations port already answers.
                operations_port(self.operations, self._settings, "server"),
                open_services(
                    self._settings,
                    serves_sockets=True,
                    application_name="curhat server",
                    should_stop=self._should_stop,
                ) as services,
            ):
                self._services = services
                await self.operations.started(services)
                self._serve = self._front(services)
                await send({"type": "lifespan.startup.complete"})
                started = True
                await receive()
                self._services = None
                self.operations.stopped()
        except StoppedWaiting:
            self.stopped_while_waiting = True
            self.operations.stopped()
            await send(
                {"type": "lifespan.startup.failed", "message": "stopped while it waited for PostgreSQL"}
            )
            return
        except Exception as error:
            self._services = None
            self.operations.stopped()
            log.exception("server.failed")
            if started:
                # A loop of this process has failed. A process without one of its loops would do harm, so end the
                # process. The supervisor then starts a new process.
                os.kill(os.getpid(), signal.SIGTERM)
                return
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    def _front(self, services: Services) -> Application:
        development = self._settings.is_development
        api: Application = build_api(lambda: services, development=development)  # type: ignore[assignment]
        sockets = RealtimeEndpoint(services.hub, services.hooks)

        callers = Callers(self._settings, services.database, services.valkey, services.authenticator)

        async def admit(scope: Scope, receive: Receive, send: Send) -> None:
            await (sockets if scope["type"] == "websocket" else api)(scope, receive, send)

        limited = RequestLimit(
            admit, services.valkey, self._settings.address_requests_per_minute, callers.name_of
        )

        async def renewing(scope: Scope, receive: Receive, send: Send) -> None:
            renewed = cookies.renewed_cookies(scope, self._settings, COOKIE_SECONDS, KNOWN_DEVICE_SECONDS)
            await limited(scope, receive, _sending_cookies(send, renewed) if renewed else send)

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await limited(scope, receive, send)
            elif development and scope["path"] in PATHS:
                await self.operations(scope, receive, send)
            elif scope["path"] == WEBHOOK_PATH:
                # Web hooks have no rate limit, because the gateway sends all web hooks from few addresses. The server
                # refuses a wrong token after one cheap comparison.
                await observed(api, scope, receive, send)
            else:
                await observed(renewing, scope, receive, send)

        # The rate limit does not apply to files, because counting a request takes at least as long as serving a file.
        origins = {client: self._settings.origins_of(role) for client, role in ROLES_OF_CLIENTS.items()}
        files = StaticFiles(route, web_folder(), origins)
        return AvailabilityPoll(files, services.presence.count_available)


def _sending_cookies(send: Send, sent: Sequence["Cookie"]) -> Send:
    """Return a `send` that adds these cookies.

    If the answer is an error or sets cookies itself, `send` adds no cookies.
    """

    async def send_with_cookies(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] < 400:
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"set-cookie" for name, _ in headers):
                headers += [(b"set-cookie", cookie.to_header(header="").encode("latin-1")) for cookie in sent]
                message["headers"] = headers
        await send(message)

    return send_with_cookies


async def observed(api: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Let `api` answer an HTTP request, and measure how long the answer takes.

    Put the request's correlation id into the logs and into the answer. Add the security headers to the answer.
    """
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    correlation_id = given if CORRELATION_ID.match(given) else str(uuid4()).encode()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(correlation_id=correlation_id.decode())
    begun = time.perf_counter()
    status = 500

    async def send_marked(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = list(message.get("headers", ()))
            named = {name.lower() for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in named]
            headers.append((b"x-request-id", correlation_id))
            message["headers"] = headers
        await send(message)

    try:
        # PostgreSQL stores no NUL in a text. For bodies, see StrictRequest.
        if "\0" in scope["path"]:
            await send_problem(send_marked, NotFound())
        elif b"%00" in scope["query_string"]:
            await send_problem(send_marked, invalid_field("query", "contains the character NUL"))
        else:
            await api(scope, receive, send_marked)
    finally:
        path = scope.get("path_template") or "unknown"
        REQUESTS.labels(scope["method"], path, str(status)).observe(time.perf_counter() - begun)
