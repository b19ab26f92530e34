"""Test the maximum number of codes per day and country, and requests for codes over HTTP while senders fail."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import valkey.asyncio
from prometheus_client import REGISTRY

from curhat.accounts import requesters, service
from curhat.accounts.code_sender import CodeSenders
from curhat.accounts.errors import CodeNotSent
from curhat.accounts.requesters import Requester
from curhat.accounts.service import SentCode
from curhat.app.operations import figures, queries
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.integration.test_code_senders import sms, whatsapp
from tests.support.clock import START, VirtualClock
from tests.support.code_companies import Meta, Mood, Twilio
from tests.support.signed_in import RunningServer, development_settings, free_port, problem, start_server

KEY = b"k" * 32
PHONE = "+6281234567890"
SINGAPORE = "+6591234567"
OWN_DEVICE = requesters.known_device("the secret of a device")


def phone(number: int) -> str:
    return f"+62812345{number:05}"


def stranger(number: int) -> Requester:
    return requesters.stranger(KEY, f"10.0.{number // 250}.{number % 250}")


async def ask(
    database: Database, number: str, ceilings: dict[str, int], requester: Requester | None = None
) -> SentCode:
    async with database.transaction() as tx:
        return await service.request_code(tx, KEY, "customer", number, requester or stranger(1), ceilings)


def over_ceiling(region: str) -> float:
    return REGISTRY.get_sample_value("curhat_codes_over_ceiling_total", {"region": region}) or 0.0


def used_ratio(region: str) -> float | None:
    return REGISTRY.get_sample_value("curhat_codes_ceiling_used_ratio", {"region": region})


@pytest.mark.rule("S.1")
async def test_concurrent_requests_get_no_more_codes_than_the_daily_maximum(database: Database) -> None:
    before = over_ceiling("ID")
    asked = [ask(database, phone(number), {"ID": 10}, stranger(number)) for number in range(20)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in results if isinstance(each, CodeNotSent)]
    # Strangers get four fifths.
    assert len(refused) == 12
    assert len([each for each in results if isinstance(each, SentCode)]) == 8
    assert over_ceiling("ID") == before + 12
    assert await database.fetchval("SELECT count(*) FROM one_time_codes") == 8
    assert await database.fetchval("SELECT codes FROM code_days") == 8


@pytest.mark.rule("S.1")
async def test_an_attack_by_strangers_leaves_codes_for_known_devices(database: Database) -> None:
    for number in range(4):
        await ask(database, phone(number), {"ID": 5}, stranger(number))
    with pytest.raises(CodeNotSent):
        await ask(database, phone(5), {"ID": 5}, stranger(5))
    await ask(database, PHONE, {"ID": 5}, OWN_DEVICE)
    with pytest.raises(CodeNotSent):
        await ask(database, phone(6), {"ID": 5}, OWN_DEVICE)


@pytest.mark.rule("S.1")
async def test_each_country_has_its_own_maximum_of_codes_per_day(database: Database) -> None:
    ceilings = {"ID": 2, "SG": 1}
    await ask(database, SINGAPORE, ceilings)
    with pytest.raises(CodeNotSent):
        await ask(database, "+6591234568", ceilings, stranger(2))
    await ask(database, PHONE, ceilings)
    with pytest.raises(CodeNotSent):
        await ask(database, "+60123456789", ceilings)


async def test_the_part_of_the_ceiling_that_is_used_up_is_a_metric_of_every_process(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    ceilings = {"ID": 10, "SG": 4}

    async def used() -> dict[str, float | None]:
        figures.show_codes(await queries.list_codes_of_today(database), ceilings)
        return {region: used_ratio(region) for region in ceilings}

    assert await used() == {"ID": 0.0, "SG": 0.0}
    for number in range(3):
        await ask(database, phone(number), ceilings, stranger(number))
    await ask(database, SINGAPORE, ceilings)
    assert await used() == {"ID": 0.3, "SG": 0.25}
    await clock.advance(24 * 3600)
    assert await used() == {"ID": 0.0, "SG": 0.0}
    # Without an answer of PostgreSQL, no alert takes an old figure for a new one.
    figures.show_codes(None, ceilings)
    assert str(used_ratio("ID")) == "nan"


@pytest.mark.rule("S.1")
async def test_the_maximum_of_codes_per_day_begins_again_each_day(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set(START)
    await ask(database, phone(1), {"ID": 1})
    with pytest.raises(CodeNotSent):
        await ask(database, phone(2), {"ID": 1}, stranger(2))
    await clock.advance(12 * 3600)
    await ask(database, phone(2), {"ID": 1}, stranger(2))
    await clock.advance(31 * 24 * 3600)
    async with database.transaction() as tx:
        await service.prune(tx)
    assert await database.fetchval("SELECT count(*) FROM code_days") == 0


# Over HTTP -----------------------------------------------------------------------------------------------


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """A server with a pool of two connections."""
    settings = development_settings(database_url, servers.valkey_url)
    async with start_server(replace(settings, database_pool_size=2), database) as opened:
        yield opened


@pytest.fixture
async def companies(server: RunningServer) -> AsyncIterator[tuple[Meta, Twilio]]:
    """The companies through which the server sends codes. WhatsApp is first."""
    async with Meta().running() as meta, Twilio().running() as twilio:
        senders = CodeSenders({"whatsapp": whatsapp(meta.url), "sms": sms(twilio.url)})
        server.application.services.code_senders = senders
        yield meta, twilio
        await senders.close()


Asked = tuple[int, frozenset[str], str | None]


async def request(server: RunningServer, number: str, role: str = "client") -> Asked:
    """Ask for a code.

    Returns the parts of the answer that a stranger sees: the status, the fields of the body, and Retry-After.
    """
    answer = await server.http.post(f"/api/{role}/auth/otp/request", json={"phone": number})
    return answer.status_code, frozenset(answer.json()), answer.headers.get("retry-after")


@pytest.mark.rule("S.1")
async def test_a_person_signs_in_with_the_code_that_the_sender_delivered(
    server: RunningServer, companies: tuple[Meta, Twilio]
) -> None:
    meta, twilio = companies
    meta.mood = "limit"
    asked = await server.http.post("/api/client/auth/otp/request", json={"phone": PHONE})
    assert (meta.taken, len(twilio.taken)) == ([], 1)
    body = {"request_id": asked.json()["request_id"], "code": twilio.taken[0].code, "call_name": "Bunga"}
    assert (await server.http.post("/api/client/auth/otp/verify", json=body)).status_code == 200


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "mood", ["accept", "slow", "lost", "limit", "broken", "invalid_number", "expired_token"]
)
async def test_a_known_and_an_unknown_number_get_the_same_answer_after_every_result_of_the_senders(
    server: RunningServer, companies: tuple[Meta, Twilio], mood: Mood
) -> None:
    known = await server.make.customer()
    known_phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", known)
    for company in companies:
        company.mood = mood
    answers = [await request(server, known_phone), await request(server, phone(77))]
    assert answers[0] == answers[1]
    assert answers[0][0] == (202 if mood in ("accept", "slow", "lost", "broken") else 503)
    # The mitra app gives the same answer for a number that was never invited.
    assert (await request(server, phone(78), "mitra"))[0] == answers[0][0]


@pytest.mark.rule("S.1")
async def test_a_code_request_is_refused_with_the_time_to_wait_when_no_sender_takes_the_code(
    server: RunningServer, companies: tuple[Meta, Twilio]
) -> None:
    for company in companies:
        company.mood = "unavailable"
    answer = await server.http.post("/api/client/auth/otp/request", json={"phone": PHONE})
    assert problem(answer) == (503, "code_not_sent")
    assert answer.headers["retry-after"] == "30"


async def test_a_sender_that_hangs_holds_no_transaction_and_no_connection(
    server: RunningServer, companies: tuple[Meta, Twilio], database: Database
) -> None:
    meta, twilio = companies
    meta.mood = twilio.mood = "slow"
    # The number of people exceeds the number of connections of the pool.
    asked = [asyncio.create_task(request(server, phone(number))) for number in range(5)]
    await meta.arrived.wait()
    async with asyncio.timeout(5):
        while meta.requests < len(asked):
            await asyncio.wait(asked, timeout=0.005)
    assert (await server.http.get("/api/client/me")).status_code == 401
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in trans%'"
    assert await database.fetchval(idle) == 0
    assert {status for status, _, _ in await asyncio.gather(*asked)} == {202}


@pytest.mark.rule("S.1")
async def test_a_number_of_another_country_is_refused_before_anything_is_sent(
    server: RunningServer, companies: tuple[Meta, Twilio]
) -> None:
    assert (await request(server, SINGAPORE))[0] == 422
    assert [company.requests for company in companies] == [0, 0]
    assert await server.database.fetchval("SELECT count(*) FROM one_time_codes") == 0


@pytest.mark.rule("S.1")
async def test_a_rehearsal_of_production_reads_its_codes_from_a_file(
    servers: EmbeddedServers,
    database_url: str,
    database: Database,
    valkey_client: valkey.asyncio.Valkey,
    tmp_path: Path,
) -> None:
    path = tmp_path / "codes"
    settings = replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=(f"file:{path}",),
        allow_file_codes=True,
        operations_port=free_port(),
        public_origins=("https://app.example.id",),
    )
    async with start_server(settings, database) as server:
        asked = await server.http.post("/api/client/auth/otp/request", json={"phone": PHONE})
        line = msgspec.json.decode(path.read_bytes().splitlines()[-1])
        assert line["phone_number"] == PHONE
        body = {"request_id": asked.json()["request_id"], "code": line["code"], "call_name": "Bunga"}
        assert (await server.http.post("/api/client/auth/otp/verify", json=body)).status_code == 200
