"""After a failover, PostgreSQL has a new timeline and may lack commits that Valkey and the clients have seen.

`curhat_timeline()` is replaced here. tests/crashes/test_failover.py makes a real failover.
"""

from collections.abc import AsyncIterator

import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.support.signed_in import RunningServer, development_settings, start_server

NEXT_TIMELINE = """
CREATE OR REPLACE FUNCTION curhat_timeline() RETURNS bigint LANGUAGE sql VOLATILE RETURN 2
"""
# Undo what the failover lost: the mitra's last changes, and the customer's events.
LOSE_COMMITS = """
UPDATE mitras SET online = true;
UPDATE mitras SET availability_version = 1;
DELETE FROM stream_events;
UPDATE streams SET head = 0;
"""


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: "valkey.asyncio.Valkey"
) -> AsyncIterator[RunningServer]:
    """A server on this test's own database."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


@pytest.mark.rule("1.1", "V.3")
@pytest.mark.invariant(10, 12)
async def test_after_a_failover_valkey_takes_older_states_and_clients_fetch_theirs_again(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra(online=False)
    presence = server.application.services.presence
    async with customer.socket() as phone, mitra.socket():
        for online in (True, False):
            assert (await mitra.put("/presence", {"online": online})).is_success
        assert not await presence.may_be_asked(mitra.id)
        await customer.post("/payments", {"offer_id": str(await server.make.offer())})
        await server.application.services.hub.compare_heads()

        await server.database.execute(NEXT_TIMELINE)
        await server.database.execute(LOSE_COMMITS)

        await presence.reconcile()
        assert await presence.may_be_asked(mitra.id)
        await server.application.services.hub.compare_heads()
        await phone.connection.wait_closed()
        assert phone.connection.close_code == 1012
    async with customer.socket(epoch=phone.welcome["epoch"], seq=phone.welcome["seq"]) as again:
        assert again.welcome["resumed"] is False
