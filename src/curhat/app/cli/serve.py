"""`curhat serve`: runs one server process."""

import argparse
import os
import socket
from typing import Final

from curhat.app.cli.common import (
    CommandError,
    Subparsers,
    allow_many_sockets,
    database_url_of,
    joined_settings,
    named_data_dir,
)
from curhat.app.run_file import RunFile
from curhat.kit.settings import Settings

# If a client does not acknowledge sent bytes within UNACKNOWLEDGED_TIMEOUT_MILLISECONDS, the kernel ends the connection
# and frees its send buffer.
UNACKNOWLEDGED_TIMEOUT_MILLISECONDS: Final = 30_000
# A server that can have fewer than MIN_CONNECTIONS connections cannot do its work.
MIN_CONNECTIONS: Final = 64
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
    from curhat.app.asgi import Server
    from curhat.app.connections import ServerConfig, connections_within_limit
    from curhat.app.shutdown import DrainingServer
    from curhat.app.wiring import MAX_VALKEY_CONNECTIONS
    from curhat.kit.garbage import collect_rarely
    from curhat.kit.logging import configure_logging

    is_up = RunFile.read(named_data_dir()) is not None
    settings = joined_settings() if is_up else Settings.from_environment(os.environ)
    database_url_of(settings)
    configure_logging(settings.log_level, settings.log_format)
    allow_many_sockets()
    max_connections, max_waiting = connections_within_limit(
        settings.database_pool_size, MAX_VALKEY_CONNECTIONS
    )
    if max_connections < MIN_CONNECTIONS:
        raise CommandError(
            "this process may open too few files; raise its limit (ulimit -n) to 4096 or more, "
            "or lower CURHAT_DATABASE_POOL_SIZE"
        )
    application = Server(settings, should_stop=lambda: server.should_exit)
    config = ServerConfig(
        application,
        max_connections=max_connections,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        lifespan="on",
        proxy_headers=True,
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=max_waiting,
        timeout_graceful_shutdown=GRACEFUL_STOP_TIMEOUT_SECONDS,
    )
    listener = config.bind_socket()
    # Each accepted connection inherits TCP_USER_TIMEOUT from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_TIMEOUT_MILLISECONDS)
    server = DrainingServer(config, application, settings.drain_notice_seconds)
    collect_rarely()
    try:
        server.run(sockets=[listener])
    except SystemExit:
        # uvicorn reports a failed start if the process was told to stop during the start.
        if not application.stopped_while_waiting:
            raise
    return 0
