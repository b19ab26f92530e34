"""`curhat serve`: runs one server process."""

import argparse
import os
import socket
from typing import Final

from curhat.app.cli.common import (
    Subparsers,
    allow_many_sockets,
    database_url_of,
    joined_settings,
    named_data_dir,
)
from curhat.app.run_file import RunFile
from curhat.kit.settings import Settings

# The realtime protocol allows 64 KiB of text in a frame. If a frame is larger, our code closes the socket with 4413.
# So uvicorn must pass such a frame to our code. If a frame exceeds 1 MiB, uvicorn closes the socket with 1009.
MAX_SOCKET_FRAME_BYTES: Final = 1024 * 1024
# If a client does not acknowledge sent bytes for this long, the kernel ends the connection and frees its send buffer.
UNACKNOWLEDGED_TIMEOUT_MILLISECONDS: Final = 30_000
# How many connections may wait until the server accepts them. After a restart, many clients reconnect together.
MAX_WAITING_CONNECTIONS: Final = 4096
GRACEFUL_STOP_TIMEOUT_SECONDS: Final = 5


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="run one server process: HTTP and WebSocket",
        description="Run one server process until SIGTERM. Any number may run, on ports or machines of their own, "
        "with the same databases. Without CURHAT_DATABASE_URL and CURHAT_VALKEY_URL it joins the running make up.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    import uvicorn

    from curhat.app.asgi import Server
    from curhat.kit.logging import configure_logging

    is_up = RunFile.read(named_data_dir()) is not None
    settings = joined_settings() if is_up else Settings.from_environment(os.environ)
    database_url_of(settings)
    configure_logging(settings.log_level, settings.log_format)
    allow_many_sockets()
    config = uvicorn.Config(
        Server(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_SOCKET_FRAME_BYTES,
        # Compression would take 34 KiB of memory per idle socket, and the frames are small.
        ws_per_message_deflate=False,
        # The realtime protocol has its own ping. The client's answer to that ping also renews the presence lease.
        ws_ping_interval=None,
        lifespan="on",
        proxy_headers=True,
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=MAX_WAITING_CONNECTIONS,
        timeout_graceful_shutdown=GRACEFUL_STOP_TIMEOUT_SECONDS,
        access_log=False,
        log_config=None,
        server_header=False,
    )
    listener = config.bind_socket()
    # Each accepted connection inherits this option from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_TIMEOUT_MILLISECONDS)
    uvicorn.Server(config).run(sockets=[listener])
    return 0
