"""A running server on the test's own database, and people signed in to it without a code.

The people are rows of `people`, `customers`, `mitras` and `access_tokens`; everything they then do goes through the
API. What a test takes apart or holds in a journey is made by the production services.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
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
from curhat.payments.service import PaymentTerms
from tests.support.chats import Chat, open_chat
from tests.support.journey import open_blast, request_of
from tests.support.people import Make
from tests.support.server import Person, running_server

SECRET_KEY = "a key of this test run, long enough"
VAPID_PRIVATE_KEY = "YSBwdXNoIGtleSBvZiB0ZXN0cyBvbmx5LCAzMiBieXQ="
# A page of ours, as the settings of development name it.
ORIGIN = "http://127.0.0.1:8000"
# Bounds how long a server that does not start is waited for.
START_SECONDS = 60.0

SIGN_IN = """
INSERT INTO access_tokens (digest, role, user_id, transport, expires_at)
VALUES ($1, $2, $3, $4, curhat_now() + make_interval(secs => $5))
"""


def environment_of(database_url: str, valkey_url: str, **more: str) -> dict[str, str]:
    """The variables of a server in development on these databases."""
    return {
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_DATABASE_URL": database_url,
        "CURHAT_VALKEY_URL": valkey_url,
        "CURHAT_SECRET_KEY": SECRET_KEY,
        "CURHAT_VAPID_PRIVATE_KEY": VAPID_PRIVATE_KEY,
        **more,
    }


def development_settings(database_url: str, valkey_url: str) -> Settings:
    """The settings that `environment_of` means."""
    return Settings.from_environment(environment_of(database_url, valkey_url))


OPERATOR_PASSWORD = "the password of every operator here"


@functools.cache
def operator_password_hash() -> str:
    """What is stored of it: hashing is slow on purpose, and once is enough."""
    return passwords.hashed(OPERATOR_PASSWORD)


SIGN_IN_OPERATOR = """
INSERT INTO operator_tokens (digest, operator_id, transport, user_agent, address, expires_at)
VALUES ($1, $2, $3, 'a test', '127.0.0.1', curhat_now() + make_interval(secs => $4))
"""


class Stage:
    """A server, its address, and whoever and whatever a test wants to be there."""

    def __init__(self, url: str, server: Server, http: httpx.AsyncClient, database: Database) -> None:
        self.url = url
        self.server = server
        self.http = http
        self.database = database
        self.make = Make(database)

    async def token(
        self, role: AnyRole, user_id: UUID, *, transport: str = "bearer", good_for_seconds: float = 3600.0
    ) -> str:
        """A token of this person's, as signing in would have given it."""
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        if role == "operator":
            await self.database.execute(SIGN_IN_OPERATOR, digest, user_id, transport, good_for_seconds)
        else:
            await self.database.execute(SIGN_IN, digest, role, user_id, transport, good_for_seconds)
        return token

    async def person(self, role: AnyRole, user_id: UUID) -> Person:
        """Somebody who is there already, signed in."""
        return Person(self.http, role, user_id, await self.token(role, user_id))

    async def customer(self, call_name: str = "Bunga") -> Person:
        """A new customer, signed in."""
        return await self.person("customer", await self.make.customer(call_name))

    async def mitra(
        self, display_name: str = "Kak Sari", *, online: bool = True, max_customers: int = 1
    ) -> Person:
        """A new mitra, signed in; online by intent unless said otherwise, and not connected."""
        mitra_id = await self.make.mitra(display_name, online=online, max_customers=max_customers)
        return await self.person("mitra", mitra_id)

    async def operator(self, role: OperatorRole = "admin", email: str | None = None) -> Person:
        """A new operator, signed in, whose password is OPERATOR_PASSWORD."""
        operator_id = await self.database.fetchval(
            "INSERT INTO operators (email, role, password_hash) VALUES ($1, $2, $3) RETURNING id",
            email or f"{role}-{secrets.token_hex(4)}@example.id",
            role,
            operator_password_hash(),
        )
        return await self.person("operator", operator_id)

    async def operator_with_app(self) -> tuple[Person, pyotp.TOTP]:
        """A new admin, signed in, with an authenticator app."""
        operator = await self.operator()
        salt = second_factor.new_salt()
        await self.database.execute("UPDATE operators SET totp_salt = $2 WHERE id = $1", operator.id, salt)
        return operator, pyotp.TOTP(second_factor.secret_of(SECRET_KEY.encode(), operator.id, salt))

    async def suspended_mitra(self) -> Person:
        """A mitra who was signed in when the suspension came."""
        mitra = await self.mitra("Kak Budi")
        await self.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra.id)
        return mitra

    @contextlib.asynccontextmanager
    async def available_mitra(self) -> AsyncIterator[Person]:
        """A mitra with a socket who may be asked, with room for many."""
        mitra = await self.mitra("Kak Ayu", online=False, max_customers=20)
        async with mitra.socket():
            answer = await mitra.put("/presence", {"online": True})
            assert answer.status_code == 200, answer.text
            yield mitra

    async def pending_payment(self, customer_id: UUID, *, price_rp: int = 20_000) -> UUID:
        """A payment that waits for its confirmation."""
        offer_id = await self.make.offer(price_rp=price_rp)
        terms = PaymentTerms(
            purpose="session",
            offer_id=offer_id,
            duration_minutes=30,
            amount_rp=price_rp,
            is_trial=price_rp == 0,
        )
        async with self.database.transaction() as tx:
            minutes = await configuration.payment_session_timeout_minutes(tx)
            return await payments.open_payment(tx, customer_id, terms, minutes)

    async def search(self, customer_id: UUID, mitra_ids: list[UUID]) -> UUID:
        """A blast to these mitras, under a confirmed payment; the pairing's id."""
        return await self.search_of(await self.make.confirmed_payment(customer_id), mitra_ids)

    async def search_of(self, payment_id: UUID, mitra_ids: list[UUID]) -> UUID:
        """A blast to these mitras under this payment; the pairing's id."""
        return await open_blast(self.database, payment_id, mitra_ids)

    async def request(self, customer_id: UUID, mitra_id: UUID) -> UUID:
        """The request that a blast made for this mitra."""
        pairing_id = await self.search(customer_id, [mitra_id])
        return await request_of(self.database, pairing_id, mitra_id)

    async def chat(self, customer_id: UUID, mitra_id: UUID) -> Chat:
        """A running session of these two."""
        return await open_chat(self.database, self.make, customer_id=customer_id, mitra_id=mitra_id)


@contextlib.asynccontextmanager
async def stage(settings: Settings, database: Database, port: int = 0) -> AsyncIterator[Stage]:
    """Serve with these settings; `database` is the test's own pool on the same database. Port 0 is any free one."""
    async with (
        running_server(settings, port) as (url, server),
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield Stage(url, server, http, database)


# What is in the tables ---------------------------------------------------------------------------------------

# What follows from being there, or from having asked, and is no business: the answers stored under keys, streams
# begun by a look at them, and the codes' counters.
NO_BUSINESS = frozenset(
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


async def business(database: Database) -> dict[str, tuple[int, str | None]]:
    """How many rows each business table has, and a digest of all that is in them.

    When a mitra was last seen is left out: a socket that is open writes it all the time.
    """
    found = {}
    for table in await database.fetch(TABLES):
        if table["table_name"] in NO_BUSINESS:
            continue
        row = await database.fetchrow(
            f"SELECT count(*), md5(string_agg(fields, '|' ORDER BY fields)) AS digest FROM "
            f"(SELECT (to_jsonb(t) - 'last_seen_at')::text AS fields FROM {table['name']} AS t) AS rows"
        )
        assert row is not None
        found[table["name"]] = (row["count"], row["digest"])
    return found


# Servers as processes ----------------------------------------------------------------------------------------


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: str, environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`curhat <command>` as a process of its own, with everything it writes in `log`; ended with the block."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
    with log.open("wb") as written:
        started = subprocess.Popen(
            [sys.executable, "-m", "curhat.app.cli", command],
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
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
def server_process(environment: dict[str, str], log: Path) -> Iterator[str]:
    """A server in a process of its own; the block begins when it is ready. Gives the address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process("serve", {**environment, "CURHAT_PORT": str(port)}, log) as started:
        give_up_at = time.monotonic() + START_SECONDS
        while not _is_ready(url):
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.02)  # Leaves the processor to the server.
        yield url


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    return False


def problem(answer: httpx.Response) -> tuple[int, Any]:
    """The status and, of a refusal, its code; what an answer is compared by."""
    if answer.status_code < 400:
        return answer.status_code, None
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]
