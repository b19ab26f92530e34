"""Runs a server on the test's own database, and signs people in without a code.

The module inserts people as rows of `people`, `customers`, `mitras` and `access_tokens`. All later actions of these
people go through the API. The production services make payments, pairings and sessions.
"""

import contextlib
import functools
import hashlib
import os
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pyotp

from curhat.app.asgi import Server
from curhat.configuration import service as configuration
from curhat.control_center.operators import passwords, second_factor
from curhat.control_center.operators.permissions import OperatorRole
from curhat.kit.database import Database
from curhat.kit.identity import AnyRole
from curhat.kit.settings import Settings
from curhat.payments import service as payments
from curhat.pricing.schemas import Offer
from tests.support.chats import Chat, open_chat
from tests.support.cheap_starts import certificates
from tests.support.journey import open_blast, request_of
from tests.support.people import Make
from tests.support.server import Person, running_server
from tests.support.texts import note_all

SECRET_KEY = "a key of this test run, long enough"
VAPID_PRIVATE_KEY = "YSBwdXNoIGtleSBvZiB0ZXN0cyBvbmx5LCAzMiBieXQ="
# The origin of our own pages, as in the settings of development.
ORIGIN = "http://127.0.0.1:8000"
# The maximum time for which a test waits for the start of a server.
START_TIMEOUT_SECONDS = 60.0

SIGN_IN = """
INSERT INTO access_tokens (digest, role, user_id, transport, expires_at)
VALUES ($1, $2, $3, $4, curhat_now() + make_interval(secs => $5))
"""


def environment_of(database_url: str, valkey_url: str, **more: str) -> dict[str, str]:
    """Return the environment variables of a development server on these databases."""
    return {
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_DATABASE_URL": database_url,
        "CURHAT_VALKEY_URL": valkey_url,
        "CURHAT_SECRET_KEY": SECRET_KEY,
        "CURHAT_VAPID_PRIVATE_KEY": VAPID_PRIVATE_KEY,
        **more,
    }


def development_settings(database_url: str, valkey_url: str) -> Settings:
    """Return the settings that a server reads from `environment_of`."""
    return Settings.from_environment(environment_of(database_url, valkey_url))


OPERATOR_PASSWORD = "the password of every operator here"


@functools.cache
def operator_password_hash() -> str:
    """The hash of OPERATOR_PASSWORD. The hash is computed only once, because hashing is slow on purpose."""
    return passwords.hashed(OPERATOR_PASSWORD)


SIGN_IN_OPERATOR = """
INSERT INTO operator_tokens (digest, operator_id, transport, user_agent, address, expires_at)
VALUES ($1, $2, $3, 'a test', '127.0.0.1', curhat_now() + make_interval(secs => $4))
"""


class RunningServer:
    """A server in the test's event loop, and functions that make people and journeys on this server."""

    def __init__(self, url: str, application: Server, http: httpx.AsyncClient, database: Database) -> None:
        self.url = url
        self.application = application
        self.http = http
        self.database = database
        self.make = Make(database)

    async def token(
        self, role: AnyRole, user_id: UUID, *, transport: str = "bearer", good_for_seconds: float = 3600.0
    ) -> str:
        """Give this person a token, as a sign-in does."""
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        if role == "operator":
            await self.database.execute(SIGN_IN_OPERATOR, digest, user_id, transport, good_for_seconds)
        else:
            await self.database.execute(SIGN_IN, digest, role, user_id, transport, good_for_seconds)
        return token

    async def person(self, role: AnyRole, user_id: UUID) -> Person:
        """Sign in an existing person."""
        return Person(self.http, role, user_id, await self.token(role, user_id))

    async def customer(self, call_name: str = "Bunga") -> Person:
        """Make a customer who is signed in."""
        return await self.person("customer", await self.make.customer(call_name))

    async def mitra(
        self, display_name: str = "Kak Sari", *, online: bool = True, max_customers: int = 1
    ) -> Person:
        """Make a mitra who is signed in and not connected. `online` is the toggle."""
        mitra_id = await self.make.mitra(display_name, online=online, max_customers=max_customers)
        return await self.person("mitra", mitra_id)

    async def operator(self, role: OperatorRole = "admin", email: str | None = None) -> Person:
        """Make an operator who is signed in. The password is OPERATOR_PASSWORD."""
        operator_id = await self.database.fetchval(
            "INSERT INTO operators (email, role, password_hash) VALUES ($1, $2, $3) RETURNING id",
            email or f"{role}-{secrets.token_hex(4)}@example.id",
            role,
            operator_password_hash(),
        )
        return await self.person("operator", operator_id)

    async def operator_with_app(self) -> tuple[Person, pyotp.TOTP]:
        """Make a signed-in admin with an authenticator app."""
        operator = await self.operator()
        salt = second_factor.new_salt()
        await self.database.execute("UPDATE operators SET totp_salt = $2 WHERE id = $1", operator.id, salt)
        return operator, pyotp.TOTP(second_factor.secret_of(SECRET_KEY.encode(), operator.id, salt))

    async def suspended_mitra(self) -> Person:
        """Make a signed-in mitra whom an operator has then suspended."""
        mitra = await self.mitra("Kak Budi")
        await self.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra.id)
        return mitra

    @contextlib.asynccontextmanager
    async def available_mitra(self) -> AsyncIterator[Person]:
        """Make a connected mitra who can be asked and has a capacity of 20."""
        mitra = await self.mitra("Kak Ayu", online=False, max_customers=20)
        await note_all(self.database, mitra)
        async with mitra.socket():
            answer = await mitra.put("/presence", {"online": True})
            assert answer.status_code == 200, answer.text
            yield mitra

    async def pending_payment(self, customer_id: UUID, *, price_rp: int = 20_000) -> UUID:
        """Make a pending payment."""
        offer_id = await self.make.offer(price_rp=price_rp)
        offer = Offer(offer_id, duration_minutes=30, price_rp=price_rp, is_trial=price_rp == 0)
        async with self.database.transaction() as tx:
            minutes = await configuration.payment_session_timeout_minutes(tx)
            return await payments.open_payment(tx, customer_id, offer, minutes)

    async def search(self, customer_id: UUID, mitra_ids: list[UUID]) -> UUID:
        """Make a confirmed payment, and open a blast to these mitras for the payment. Returns the pairing's id."""
        return await self.search_of(await self.make.confirmed_payment(customer_id), mitra_ids)

    async def search_of(self, payment_id: UUID, mitra_ids: list[UUID]) -> UUID:
        """Open a blast to these mitras for this payment. Returns the pairing's id."""
        return await open_blast(self.database, payment_id, mitra_ids)

    async def request(self, customer_id: UUID, mitra_id: UUID) -> UUID:
        """Open a blast to this mitra. Returns the id of the mitra's request."""
        pairing_id = await self.search(customer_id, [mitra_id])
        return await request_of(self.database, pairing_id, mitra_id)

    async def chat(self, customer_id: UUID, mitra_id: UUID) -> Chat:
        """Start a session between these two users."""
        return await open_chat(self.database, self.make, customer_id=customer_id, mitra_id=mitra_id)


@contextlib.asynccontextmanager
async def start_server(settings: Settings, database: Database, port: int = 0) -> AsyncIterator[RunningServer]:
    """Run a server with these settings.

    The argument `database` is the test's own pool on its database. Port 0 means any free port.
    """
    async with (
        running_server(settings, port) as (url, application),
        httpx.AsyncClient(base_url=url, timeout=30, verify=certificates()) as http,
    ):
        yield RunningServer(url, application, http, database)


# Table contents ----------------------------------------------------------------------------------------------

# A refused HTTP request is still allowed to change the following tables. These tables hold the answers to
# Idempotency-Keys, the streams that a read creates, and counters of codes and tries. The list also has the tests' own
# tables.
TECHNICAL_TABLES = frozenset(
    {
        "idempotency_keys",
        "one_time_codes",
        "operator_sign_in_tries",
        "streams",
        "virtual_clock",
        "schema_migrations",
    }
)

TABLES = """
SELECT table_schema || '.' || table_name AS name, table_name
FROM information_schema.tables
WHERE table_schema IN ('public', 'mock_gateway') AND table_type = 'BASE TABLE'
ORDER BY 1
"""


async def business_rows(database: Database) -> dict[str, tuple[int, str | None]]:
    """Return the number of rows and a digest of the contents of each business table.

    Leaves out `last_seen_at`, because an open socket changes this column continuously.
    """
    found = {}
    for table in await database.fetch(TABLES):
        if table["table_name"] in TECHNICAL_TABLES:
            continue
        row = await database.fetchrow(
            f"SELECT count(*), md5(string_agg(fields, '|' ORDER BY fields)) AS digest FROM "
            f"(SELECT (to_jsonb(t) - 'last_seen_at')::text AS fields FROM {table['name']} AS t) AS rows"
        )
        assert row is not None
        found[table["name"]] = (row["count"], row["digest"])
    return found


# Servers as processes ----------------------------------------------------------------------------------------


FIRST_PORT: Final = 10_000
_given_ports: set[int] = set()


def free_port() -> int:
    """Find a port of this machine at which nobody listens, at none of its addresses. Never returns a port twice.

    The kernel gives the ports of its own range to clients. A server that starts seconds later could find such a port
    taken, so this function returns a port below that range.
    """
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    count = max(first_of_clients, FIRST_PORT + 10_000) - FIRST_PORT
    while True:
        port = FIRST_PORT + secrets.randbelow(count)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("", port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port


@contextlib.contextmanager
def process(
    command: str, environment: dict[str, str], log: Path, max_files: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `curhat <command>` as a process until the block ends. The output of the process goes to `log`.

    The process can open at most `max_files` files and connections. None means no limit of the test.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
    with log.open("wb") as written:
        started = subprocess.Popen(
            [sys.executable, "-m", "curhat.app.cli", command],
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        if max_files is not None:
            resource.prlimit(started.pid, resource.RLIMIT_NOFILE, (max_files, max_files))
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@contextlib.contextmanager
def server_process(environment: dict[str, str], log: Path, max_files: int | None = None) -> Iterator[str]:
    """Run a server as a process until the block ends. Yields the server's address when the server is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process("serve", {**environment, "CURHAT_PORT": str(port)}, log, max_files) as started:
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        while not _is_ready(url):
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.02)  # Leaves processor time for the server.
        yield url


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    return False


def problem(answer: httpx.Response) -> tuple[int, Any]:
    """Return the status of an answer, and the code of a refusal."""
    if answer.status_code < 400:
        return answer.status_code, None
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]
