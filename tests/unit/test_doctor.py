"""`curhat doctor`: which processes it finds on this machine, whatever addresses they listen at."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from curhat.app.cli import doctor
from curhat.app.local_ports import listening_hosts, port_problem
from curhat.kit.settings import Settings
from tests.support.signed_in import development_settings, free_port


class Probes(HTTPServer):
    """Answers /readyz with `status`."""

    status = 200


class _Answer(BaseHTTPRequestHandler):
    server: Probes

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        """Print nothing."""


@contextlib.contextmanager
def probes(host: str, port: int, status: int = 200) -> Iterator[None]:
    server = Probes((host, port), _Answer)
    server.status = status
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def listener(host: str, port: int) -> Iterator[None]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        yield


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of production without the addresses that the units set."""
    monkeypatch.setattr(
        "curhat.kit.settings.DEFAULT_OPERATIONS_PORTS", {"server": free_port(), "worker": free_port()}
    )
    development = development_settings("postgresql://u:p@localhost/curhat", "valkey://localhost:6379/0")
    return replace(development, environment="production", host="0.0.0.0", port=free_port())


def found(settings: Settings) -> list[tuple[str, str, str]]:
    return [
        (each.state, each.subject, each.sentence.partition(";")[0]) for each in doctor._processes(settings)
    ]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.11", "127.0.0.11"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
    ],
)
def test_the_address_of_a_listener_is_found_at_whatever_address_it_listens(host: str, shown: str) -> None:
    port = free_port()
    assert listening_hosts(port) == []
    with listener(host, port):
        assert listening_hosts(port) == [shown]


def test_each_server_and_worker_is_found_at_its_own_address(settings: Settings) -> None:
    server, worker = settings.operations_port_of("server"), settings.operations_port_of("worker")
    assert server is not None
    assert worker is not None
    with contextlib.ExitStack() as stack:
        stack.enter_context(listener("127.0.0.11", settings.port))
        stack.enter_context(probes("127.0.0.11", server))
        stack.enter_context(probes("127.0.0.12", server, 503))
        stack.enter_context(probes("127.0.0.21", worker))
        assert found(settings) == [
            ("ok", "server", f"ready, at http://127.0.0.11:{server}"),
            ("FAIL", "server", f"not ready, at http://127.0.0.12:{server}"),
            ("ok", "worker", f"ready, at http://127.0.0.21:{worker}"),
        ]


def test_a_machine_whose_server_runs_without_a_worker_is_warned_about(settings: Settings) -> None:
    server = settings.operations_port_of("server")
    assert server is not None
    with probes("127.0.0.11", server):
        assert [each[:2] for each in found(settings)] == [("ok", "server"), ("warn", "worker")]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.11", "0.0.0.0"])
def test_another_program_on_the_port_of_the_server_is_named_at_whatever_address(
    settings: Settings, host: str
) -> None:
    assert found(settings) == [("ok", "port", f"{settings.port} is free")]
    with listener(host, settings.port):
        ((state, subject, sentence),) = found(settings)
        assert (state, subject) == ("FAIL", "port")
        assert sentence.startswith(f"port {settings.port} is in use by process ")


def test_another_program_on_the_operations_port_is_not_taken_for_a_server(settings: Settings) -> None:
    server = settings.operations_port_of("server")
    assert server is not None
    with probes("127.0.0.1", server, 404):
        assert found(settings) == [("ok", "port", f"{settings.port} is free")]


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    assert "cannot be listened at" in str(port_problem("192.0.2.1", free_port()))
