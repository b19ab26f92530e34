"""The paths for operations, and the port on which a server or worker serves these paths."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final, Literal

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from curhat.app.connections import MAX_OPERATIONS_CONNECTIONS, ServerConfig
from curhat.app.operations.status import Status
from curhat.app.version import version
from curhat.app.wiring import Services
from curhat.kit.asgi import SECURITY_HEADERS, Receive, Scope, Send
from curhat.kit.settings import Settings

log = structlog.get_logger(__name__)

JSON: Final = b"application/json"
# With this query, a probe that says no because this process is stopping has the status 404. HAProxy then sends nothing
# new, and leaves the connections of this process alone. It ends those of a process that does not answer.
STOPPING_AS_404: Final = b"stopping=404"
PATHS: Final = frozenset({"/livez", "/readyz", "/status", "/healthz", "/metrics"})

POOL_IDLE: Final = Gauge("curhat_database_connections_idle", "Idle connections of the pool")
POOL_USED: Final = Gauge("curhat_database_connections_in_use", "Connections of the pool that are in use")
DRAINING: Final = Gauge("curhat_draining", "Whether this process is stopping: 1 or 0")
BUILD: Final = Gauge(
    "curhat_build_info", "Always 1; the labels name this process and its version", ["process", "version"]
)


class Operations:
    """An ASGI application that answers the probes, the status and the metrics of one process."""

    def __init__(self, process: Literal["server", "worker"]) -> None:
        self._process = process
        self._services: Services | None = None
        self._status: Status | None = None
        self.is_draining = False
        DRAINING.set(0)
        BUILD.clear()
        BUILD.labels(process, version()).set(1)

    async def started(self, services: Services) -> None:
        """Record that the Services are open, and ask PostgreSQL whether its schema is new enough."""
        self._services = services
        self._status = Status(services, self._process, version())
        # Ask PostgreSQL now, because PostgreSQL is perhaps away when a proxy asks for the first time.
        await self._status.is_ready()

    def drain(self) -> None:
        """Make `/livez` and `/readyz` answer 503, so that a proxy sends no new requests to this process."""
        self.is_draining = True
        DRAINING.set(1)

    def stopped(self) -> None:
        """Record that this process cannot serve, because its Services are closed."""
        self.drain()
        self._services = self._status = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        match scope["path"]:
            case "/livez" | "/healthz" | "/readyz":
                problem = await self._problem()
                status = 503 if problem else 200
                if self.is_draining and scope["query_string"] == STOPPING_AS_404:
                    status = 404
                await _answer(send, status, f"{problem or 'ok'}\n".encode())
            case "/status":
                await self._answer_status(send)
            case "/metrics":
                await self._answer_metrics(send)
            case _:
                await _answer(send, 404, b"not found\n")

    async def _problem(self) -> str | None:
        """Return the reason why this process must get no traffic, or None if there is no such reason.

        The arrival of an answer shows that the event loop runs.
        """
        if self.is_draining:
            return "stopping"
        if self._status is None:
            return "starting"
        if not await self._status.is_ready():
            return "starting: the schema is not known to be what this version needs; run curhat migrate"
        return None

    async def _answer_status(self, send: Send) -> None:
        if self._status is None:
            await _answer(
                send, 503, b'{"status":"stopping"}' if self.is_draining else b'{"status":"starting"}', JSON
            )
            return
        report = await self._status.report()
        body = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
        await _answer(send, 200 if report.status == "ok" else 503, body, JSON)

    async def _answer_metrics(self, send: Send) -> None:
        if self._services is not None and self._status is not None:
            # `report` also sets the metrics of the checks and of the figures.
            await self._status.report()
            pool = self._services.database.pool
            POOL_IDLE.set(pool.get_idle_size())
            POOL_USED.set(pool.get_size() - pool.get_idle_size())
        await _answer(send, 200, generate_latest(), CONTENT_TYPE_LATEST.encode())


@contextlib.asynccontextmanager
async def operations_port(
    operations: Operations, settings: Settings, process: Literal["server", "worker"]
) -> AsyncIterator[None]:
    """If the settings name an operations port, serve `operations` on this port until the end of the block.

    Raises OSError if the port cannot be opened.
    """
    port = settings.operations_port_of(process)
    if port is None:
        yield
        return
    config = ServerConfig(
        operations, max_connections=MAX_OPERATIONS_CONNECTIONS, sockets=False, lifespan="off"
    )
    server = _PortServer(config)
    with _listener(settings.operations_host, port) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).version == 6:
            family = socket.AF_INET6
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the operations port {host}:{port} cannot be opened ({error.strerror}); "
            "choose another with CURHAT_OPERATIONS_PORT",
        ) from error


class _PortServer(uvicorn.Server):
    """uvicorn without signal handlers.

    With signal handlers of its own, this server would receive SIGTERM in place of the main server.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _answer(send: Send, status: int, body: bytes, content_type: bytes = b"text/plain") -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", content_type), (b"content-length", length), *SECURITY_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
