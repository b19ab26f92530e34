"""`curhat serve`: one server process."""

import argparse
import os
import socket
from typing import TYPE_CHECKING, Final

from curhat.app.cli.common import allow_many_sockets, database_url_of
from curhat.kit.settings import Settings

if TYPE_CHECKING:
    from curhat.app.cli.common import Subparsers

# The protocol allows 64 KiB of text in a frame and closes above it with 4413: so it must get to see a larger one.
# Beyond this uvicorn closes by itself, with 1009.
SOCKET_FRAME_LIMIT_BYTES: Final = 1024 * 1024
# A client that takes no bytes for so long is gone: the kernel ends the connection and frees what waits for it.
UNACKNOWLEDGED_TIMEOUT_MILLISECONDS: Final = 30_000
BACKLOG: Final = 4096  # connections waiting while many apps come back at once, after a restart
GRACEFUL_STOP_SECONDS: Final = 5


def add_to(subparsers: "Subparsers") -> None:
    """Make the command known."""
    parser = subparsers.add_parser(
        "serve",
        help="run one server process: HTTP and WebSocket",
        description="Run one server process until SIGTERM. Any number may run, on ports or machines of their own, "
        "with the same databases. CURHAT_DATABASE_URL and CURHAT_VALKEY_URL must be set.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn

    settings = Settings.from_environment(os.environ)
    database_url_of(settings)
    allow_many_sockets()
    config = uvicorn.Config(
        "curhat.app.asgi:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=SOCKET_FRAME_LIMIT_BYTES,
        # Compression keeps 34 KiB for every idle socket; the frames are small.
        ws_per_message_deflate=False,
        # The realtime protocol has its own ping, which also renews the presence lease.
        ws_ping_interval=None,
        lifespan="on",
        proxy_headers=True,
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
        access_log=False,
        log_config=None,
        server_header=False,
    )
    listener = config.bind_socket()
    # Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_TIMEOUT_MILLISECONDS)
    uvicorn.Server(config).run(sockets=[listener])
    return 0
