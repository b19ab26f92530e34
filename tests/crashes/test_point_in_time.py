"""Restore a real PostgreSQL to just before damage, from a base backup and archived WAL, by the commands of production.

The mock gateway keeps its records on another PostgreSQL, as a real gateway does, so the restore loses none of them.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from curhat.app.cli.main import main
from curhat.app.invariants import check
from curhat.kit.database import Database
from curhat.kit.restored import NotOpened
from curhat.kit.settings import Settings
from curhat.pairing import service as pairing
from tests.support.databases import parent_of_data_folders
from tests.support.journey import open_blast, somebody
from tests.support.people import Make
from tests.support.point_in_time import ArchivedPostgres, archived_postgres, environment
from tests.support.server import Person
from tests.support.signed_in import RunningServer, environment_of, problem, start_server


@pytest.fixture
async def postgres() -> AsyncIterator[ArchivedPostgres]:
    """PostgreSQL and Valkey for this test alone."""
    with tempfile.TemporaryDirectory(prefix="curhat-restore-", dir=parent_of_data_folders()) as folder:
        async with archived_postgres(Path(folder)) as opened:
            yield opened


async def chat(server: RunningServer, customer: Person, mitra: Person) -> str:
    """Pay, search and be accepted. Returns the session's id."""
    offer_id = str(await server.make.offer())
    payment = (await customer.post("/payments", {"offer_id": offer_id})).json()
    assert (await customer.post(f"/payments/{payment['id']}/confirm")).is_success
    async with asyncio.timeout(10):
        while not (found := (await mitra.get("/requests")).json()["items"]):
            await asyncio.sleep(0.02)
    answer = await mitra.post(f"/requests/{found[0]['id']}/accept")
    assert answer.is_success, answer.text
    return str(answer.json()["session"]["id"])


async def restore_and_finish(
    postgres: ArchivedPostgres, restored_to: datetime, variables: Mapping[str, str]
) -> None:
    """Restore and open the database by the commands of production. Until it is open, nobody connects."""
    began = time.monotonic()
    old = await postgres.restore(restored_to)
    assert (old / "PG_VERSION").exists()
    async with environment(variables):
        # The command waits until PostgreSQL has ended its recovery.
        assert await asyncio.to_thread(main, ["restore", "--check"]) == 0
        recovered = time.monotonic()
        with pytest.raises(NotOpened):
            await Database.connect(postgres.servers.database_url, pool_size=2)
        assert await asyncio.to_thread(main, ["restore", "--finish"]) == 0
    finished = time.monotonic()
    print(f"\nrecovered in {recovered - began:.1f} s, finished in {finished - recovered:.1f} s")  # noqa: T201  `pytest -s` shows it


@pytest.mark.timeout(120)
@pytest.mark.rule("2a.7", "V.3", "X.1", "X.9")
@pytest.mark.invariant(2, 4, 10, 15)
async def test_a_restore_to_just_before_damage_serves_again_and_loses_no_money_out_of_sight(
    postgres: ArchivedPostgres, database_url: str
) -> None:
    servers = postgres.servers
    variables = environment_of(
        servers.database_url, servers.valkey_url, CURHAT_MOCK_GATEWAY_DATABASE_URL=database_url
    )
    settings = Settings.from_environment(variables)
    await postgres.back_up()
    database = await Database.connect(servers.database_url, pool_size=5)
    async with start_server(settings, database) as server, server.available_mitra() as mitra:
        customer, signed_out, late = await server.customer(), await server.customer(), await server.customer()
        session_id = await chat(server, customer, mitra)
        restored_to: datetime = await database.fetchval("SELECT clock_timestamp()")
        # All of this is lost, and the gateway and the devices know it.
        assert (await signed_out.post("/auth/logout")).is_success
        payment = (await late.post("/payments", {"offer_id": str(await server.make.offer())})).json()
        assert (await late.post(f"/payments/{payment['id']}/confirm")).is_success
        async with late.socket() as phone:
            pass
        assert phone.welcome["seq"] > 0
    # The damage.
    await database.execute("DELETE FROM messages")
    await database.execute("DROP TABLE stream_events CASCADE")
    await database.close()

    await restore_and_finish(postgres, restored_to, variables)

    database = await Database.connect(servers.database_url, pool_size=5)
    async with start_server(settings, database) as server:
        for person in (signed_out, late, customer, mitra):
            again = Person(server.http, person.role, person.id, person.token)
            assert problem(await again.get("/state")) == (401, "unauthenticated"), person.role
        # The devices come back, sign in, and cannot resume onto events of the same numbers.
        back = await server.person("customer", late.id)
        async with back.socket(epoch=phone.welcome["epoch"], seq=phone.welcome["seq"]) as phone_again:
            assert phone_again.welcome["resumed"] is False
            assert phone_again.welcome["epoch"] != phone.welcome["epoch"]
        operator = await server.operator("reviewer")
        (case,) = (await operator.get("/review-cases")).json()["items"]
        assert (case["payment_id"], case["reason"], case["refundable_rp"]) == (
            payment["id"],
            "restored",
            20_000,
        )
        assert case["customer"]["id"] == str(late.id)
        decision = {"decision": "refund", "note": "the chat was lost", "expected_version": case["version"]}
        assert (await operator.post(f"/review-cases/{case['id']}/decision", decision)).is_success
        assert await database.fetchval("SELECT status FROM refunds") == "requested"
        assert (
            await database.fetchval("SELECT status FROM sessions WHERE id = $1::uuid", session_id) == "active"
        )
        mitra_again = await server.person("mitra", mitra.id)
        async with mitra_again.socket():
            assert (await mitra_again.put("/presence", {"online": True})).is_success
            await chat(server, back, mitra_again)
        assert await check(database) == []
    await database.close()


@pytest.mark.timeout(120)
@pytest.mark.rule("X.9")
@pytest.mark.invariant(12, 15)
async def test_a_restore_by_hand_after_a_finished_restore_closes_the_database_again(
    postgres: ArchivedPostgres,
) -> None:
    """The first restore also shows that a server that was not stopped cannot move the time of the comparison."""
    servers = postgres.servers
    variables = environment_of(servers.database_url, servers.valkey_url)
    await postgres.back_up()
    database = await Database.connect(servers.database_url, pool_size=2)
    make = Make(database)
    payment_id = await make.confirmed_payment(await make.customer())
    await open_blast(database, payment_id, await somebody(database))
    restored_to: datetime = await database.fetchval("SELECT clock_timestamp()")
    await make.person()  # PostgreSQL recovers to a time only if a later change exists.
    await database.close()
    await postgres.restore(restored_to)
    async with environment(variables):
        assert await asyncio.to_thread(main, ["restore", "--check"]) == 0
        left = await Database.connect(servers.database_url, pool_size=2, may_be_restored=True)
        pairing_id = await left.fetchval("UPDATE pairings SET deadline_at = curhat_now() RETURNING id")
        async with left.transaction() as tx:
            assert await pairing.window_over(tx, pairing_id) == [pairing_id]
        await left.close()
        assert await asyncio.to_thread(main, ["restore", "--finish"]) == 0

        database = await Database.connect(servers.database_url, pool_size=2)
        compared_since: datetime = await database.fetchval("SELECT restored_to FROM restores")
        assert compared_since <= restored_to
        await postgres.back_up()
        again: datetime = await database.fetchval("SELECT clock_timestamp()")
        await database.execute("INSERT INTO people (phone_number) VALUES ('+6281399999998')")
        await database.close()
        await postgres.restore_by_hand(again)
        assert await asyncio.to_thread(main, ["restore", "--check"]) == 0
        with pytest.raises(NotOpened, match=", then "):
            await Database.connect(servers.database_url, pool_size=2)
        assert await asyncio.to_thread(main, ["restore", "--finish"]) == 0
        database = await Database.connect(servers.database_url, pool_size=2)
        assert await database.fetchval("SELECT count(*) FROM restores WHERE opened_at IS NOT NULL") == 2
        await database.close()
