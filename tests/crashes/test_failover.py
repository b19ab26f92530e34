"""Test a failover to a standby that lacks the last commits.

Valkey and the clients remember newer states than the standby.
"""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.database import Database
from curhat.kit.migrations import migrate
from tests.crashes.system import System, available, done, unavailable, until
from tests.support.signed_in import environment_of

# PostgreSQL must first end its recovery.
RECOVERY_TIMEOUT_SECONDS = 30


@pytest.fixture
async def own_servers(tmp_path: Path) -> AsyncIterator[EmbeddedServers]:
    """Start PostgreSQL and Valkey only for this test."""
    async with embedded_servers(tmp_path) as servers:
        connection = await asyncpg.connect(servers.database_url)
        await migrate(connection)
        await connection.close()
        yield servers


@pytest.fixture
async def own_system(own_servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[System]:
    """A system on the test's own servers."""
    folder = tmp_path / "processes"
    folder.mkdir()
    database = await Database.connect(own_servers.database_url, pool_size=5)
    system = System(
        folder, environment_of(own_servers.database_url, own_servers.valkey_url), database, own_servers
    )
    yield system
    await system.close()
    await database.close()


async def copy_standby(servers: EmbeddedServers) -> Path:
    """Stop PostgreSQL, copy its data, and start it again. The copy acts as the standby, and lacks all later commits."""
    await servers.postgres.stop()
    standby = servers.postgres.folder.with_name("standby")
    subprocess.run(["cp", "-a", servers.postgres.folder, standby], check=True)
    await servers.postgres.start()
    return standby


async def fail_over(servers: EmbeddedServers, standby: Path) -> None:
    """Kill PostgreSQL, and promote the standby in its place. The promoted standby begins a new timeline."""
    servers.postgres.kill()
    await servers.postgres.wait()
    folder = servers.postgres.folder
    folder.rename(folder.with_name("lost"))
    standby.rename(folder)
    (folder / "recovery.signal").touch()
    with (folder / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = '/bin/false'\n")
    await servers.postgres.start()


@pytest.mark.rule("1.1", "1.2", "V.3")
@pytest.mark.invariant(10, 12)
async def test_availability_and_clients_are_right_after_a_failover_that_lost_commits(
    own_system: System, own_servers: EmbeddedServers
) -> None:
    server = own_system.server()
    mitra = await own_system.mitra(server, online=True)
    customer = await own_system.customer(server)
    standby = await copy_standby(own_servers)
    await server.start()
    async with mitra.socket() as mitra_phone, customer.socket() as phone:
        await until(lambda: available(server))
        payment = await own_system.open_payment(customer)
        await customer.post(f"/payments/{payment['id']}/cancel")
        await phone.wait_for("payment.updated", status="abandoned")
        # Valkey remembers a state of the mitra that is several changes newer than the state on the standby.
        for online in (False, True, False):
            done(await mitra.put("/presence", {"online": online}))
        await until(lambda: unavailable(server))
        seen = max(event["seq"] for event in phone.events if event.get("seq") is not None)

        await fail_over(own_servers, standby)

        await until(server.has_good_status, RECOVERY_TIMEOUT_SECONDS)
        assert await own_system.database.fetchval("SELECT online FROM mitras")
        for lost in (mitra_phone, phone):
            await lost.connection.wait_closed()
            assert lost.connection.close_code == 1012
    # The clients come back. The customer's events are lost, so the customer cannot resume.
    async with (
        mitra.socket(),
        customer.socket(epoch=phone.welcome["epoch"], seq=seen) as phone_again,
    ):
        assert phone_again.welcome["resumed"] is False
        assert phone_again.welcome["epoch"] != phone.welcome["epoch"]
        await until(lambda: available(server), 10)
