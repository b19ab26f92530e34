"""Runs the application of a server process on a real port in the test's event loop, and provides clients."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from curhat.app.asgi import Server
from curhat.app.connections import ServerConfig
from curhat.kit.settings import Settings
from tests.support.cheap_starts import release_api

_keys = itertools.count(1)

_PREFIXES = {"customer": "/api/client", "mitra": "/api/mitra", "operator": "/api/control-center"}


@contextlib.asynccontextmanager
async def running_server(settings: Settings, port: int = 0) -> AsyncIterator[tuple[str, Server]]:
    """Serve on this port until the end of the block. Port 0 means any free port. Yields the URL and the application."""
    application = Server(settings)
    config = ServerConfig(application, max_connections=1_000, host="127.0.0.1", port=port, lifespan="on")
    server = uvicorn.Server(config)

    async def serve() -> None:
        try:
            await server.serve()
        except SystemExit as error:
            # The SystemExit of uvicorn would end the event loop of all tests.
            raise RuntimeError("the server did not start") from error

    task = asyncio.create_task(serve())
    async with asyncio.timeout(15):
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the server stopped while it started")
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    services = application.services
    try:
        yield f"http://127.0.0.1:{port}", application
    finally:
        server.should_exit = True
        await task
        release_api(services)


class Person:
    """A signed-in customer, mitra or operator. The person sends HTTP requests and opens sockets with a token."""

    def __init__(self, http: httpx.AsyncClient, role: str, user_id: UUID, token: str) -> None:
        self.http = http
        self.role = role
        self.id = user_id
        self.token = token
        self._headers = {"Authorization": f"Bearer {token}"}
        self._prefix = _PREFIXES[role]

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Send a GET for a path below this role's prefix."""
        return await self.http.get(self._prefix + path, headers=self._headers, params=parameters)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """Send a POST with a new Idempotency-Key, or with `key`. If `key` is "", send no Idempotency-Key."""
        headers = dict(self._headers)
        if key != "":
            headers["Idempotency-Key"] = key or f"key-{next(_keys)}-{uuid4()}"
        return await self.http.post(self._prefix + path, headers=headers, json=body)

    async def put(self, path: str, body: Any) -> httpx.Response:
        """PUT a body."""
        return await self.http.put(self._prefix + path, headers=self._headers, json=body)

    async def delete(self, path: str, body: Any = None) -> httpx.Response:
        """Send a DELETE with an optional body."""
        return await self.http.request("DELETE", self._prefix + path, headers=self._headers, json=body)

    async def patch(self, path: str, body: Any) -> httpx.Response:
        """PATCH with a body."""
        return await self.http.patch(self._prefix + path, headers=self._headers, json=body)

    @contextlib.asynccontextmanager
    async def socket(
        self, *, epoch: str | None = None, seq: int | None = None, path: str = "/realtime"
    ) -> AsyncIterator["Socket"]:
        """Open a socket, say hello and wait for the welcome."""
        url = str(self.http.base_url).replace("http", "ws", 1).rstrip("/") + f"{self._prefix}{path}"
        async with connect(url, additional_headers=self._headers) as connection:
            socket = Socket(connection)
            await socket.hello(epoch, seq)
            try:
                yield socket
            finally:
                await socket.stop()


class Socket:
    """The client side of a socket. The client answers pings and keeps the events."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        # The arrival time of each ping, by the event loop's clock.
        self.pinged_at: list[float] = []
        self._arrived = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def hello(self, epoch: str | None, seq: int | None) -> Self:
        """Say hello and wait for the welcome. If `seq` is null, the client starts without resuming."""
        await self.connection.send(
            json.dumps({"op": "hello", "epoch": epoch, "seq": seq, "device_id": str(uuid4())})
        )
        self.welcome = json.loads(await self.connection.recv())
        assert self.welcome["op"] == "welcome", self.welcome
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        async for text in self.connection:
            frame = json.loads(text)
            if frame["op"] == "ping":
                self.pinged_at.append(asyncio.get_running_loop().time())
                await self.connection.send('{"op": "pong"}')
                continue
            async with self._arrived:
                self.events.append(frame)
                self._arrived.notify_all()

    async def wait_for(self, event: str, seconds: float = 10, **matching: Any) -> dict[str, Any]:
        """Wait for an event of this type that has these values in its data. Returns its data. Raises TimeoutError."""

        def found() -> dict[str, Any] | None:
            for frame in self.events:
                data = frame.get("data", {})
                if frame.get("type") == event and all(data.get(k) == v for k, v in matching.items()):
                    return dict(data)
            return None

        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: found() is not None)
        data = found()
        assert data is not None
        return data

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until the condition holds. The condition is checked at each frame. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(condition)

    async def wait_for_answer(self, client_message_id: str) -> dict[str, Any]:
        """Wait for the answer to a message that was sent over this socket, and forget the answer."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [each for each in self.events if each.get("client_message_id") == client_message_id]
            return bool(found)

        await self.wait_until(is_there)
        self.events.remove(found[0])
        return found[0]

    async def stop(self) -> None:
        """Stop reading, like a dead phone. The client then answers no ping, and its socket stays open."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
