"""Stops a server process after SIGTERM, without a failed request.

Step 1: `/livez` answers 503, and each answer closes its connection. For `drain_notice_seconds`, the server serves
    everything as before. The proxy notices the 503, and sends new requests and sockets to other servers. The library
    uvicorn closes a connection that has been idle for 5 s, so a notice of 5 s or more leaves no idle connection to the
    proxy.
Step 2: The hub closes the sockets with code 1012. The hub spreads the closings over time, so that the other servers can
    take over the clients.
Step 3: The server answers the running requests, and then closes the port.
Step 4: The Services close. The operations port closes last.
"""

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog
import uvicorn

from curhat.app.asgi import Server
from curhat.app.connections import ServerConfig

log = structlog.get_logger(__name__)

POLL_INTERVAL_SECONDS: Final = 0.02
# Before the port closes, the running requests get at most FINISH_TIMEOUT_SECONDS to end. The library uvicorn then waits
# for the requests again, for at most serve.GRACEFUL_STOP_TIMEOUT_SECONDS.
FINISH_TIMEOUT_SECONDS: Final = 5.0


class DrainingServer(uvicorn.Server):
    """Serves `application` with uvicorn, and drains before uvicorn closes the port. A second SIGINT ends the drain."""

    def __init__(self, config: ServerConfig, application: Server, notice_seconds: float) -> None:
        super().__init__(config)
        self._application = application
        self._notice_seconds = notice_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Carry out the steps in the docstring of this module.

        The library uvicorn calls this method once, after SIGTERM or SIGINT.
        """
        self._application.operations.drain()
        if self._application.is_serving:
            log.info("server.draining", notice_seconds=self._notice_seconds)
            # uvicorn adds these headers to each answer. After an answer with `connection: close`, uvicorn closes the
            # connection.
            self.server_state.default_headers = [
                *self.server_state.default_headers,
                (b"connection", b"close"),
            ]
            await self._unless_forced(self._let_the_proxy_notice())
            await self._unless_forced(self._application.services.hub.drain())
            await self._unless_forced(self._finish_requests())
        await super().shutdown(sockets)

    async def _let_the_proxy_notice(self) -> None:
        await asyncio.sleep(self._notice_seconds)

    async def _finish_requests(self) -> None:
        ends_at = time.monotonic() + FINISH_TIMEOUT_SECONDS
        while self.server_state.tasks and time.monotonic() < ends_at:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def _unless_forced(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(step)
        while not task.done():
            if self.force_exit:
                task.cancel()
            await asyncio.wait({task}, timeout=POLL_INTERVAL_SECONDS)
        if not task.cancelled():
            task.result()
