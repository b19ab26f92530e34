"""Test a PostgreSQL that has a new timeline after a failover, and lacks commits that Valkey and clients have seen.

These tests simulate the failover: they replace `curhat_timeline()`. The tests in
tests/crashes/test_failover.py make a real failover.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.support.signed_in import RunningServer, development_settings, start_server

NEXT_TIMELINE = """
CREATE OR REPLACE FUNCTION curhat_timeline() RETURNS bigint LANGUAGE sql VOLATILE RETURN 2
"""
# Undo the commits that the failover lost: the mitra's last changes and the customer's events.
LOSE_COMMITS = """
UPDATE mitras SET online = true;
UPDATE mitras SET availability_version = 1;
DELETE FROM stream_events;
UPDATE streams SET head = 0;
"""


# Undo a charge attempt. The payment is then pending again, and the database knows no charge at the gateway.
LOSE_THE_ATTEMPT = """
DELETE FROM deadlines WHERE kind = 'charge_answer';
DELETE FROM charge_attempts;
SET session_replication_role = replica;
UPDATE payments SET status = 'pending';
RESET session_replication_role;
"""


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: "valkey.asyncio.Valkey"
) -> AsyncIterator[RunningServer]:
    """Start a server on the test's own database."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


@pytest.mark.rule("1.1", "V.3")
@pytest.mark.invariant(10, 12)
async def test_valkey_accepts_older_states_and_clients_fetch_their_state_again_after_a_failover(
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


@pytest.mark.rule("X.9")
@pytest.mark.invariant(2, 15)
async def test_operators_are_told_of_a_charge_whose_attempt_was_lost_in_a_failover(
    server: RunningServer,
) -> None:
    operator, customer = await server.operator("viewer"), await server.customer()
    gateway = server.application.services.gateway
    async with server.available_mitra():
        payment_id = await server.pending_payment(customer.id)
        await gateway.set_behaviour("processing", payment_id)
        assert (await customer.post(f"/payments/{payment_id}/confirm")).status_code == 202
        (charge,) = (await gateway.recorded(payment_id)).charges
        await server.database.execute(LOSE_THE_ATTEMPT)
        await gateway.set_behaviour("approve", payment_id)  # The gateway calls back.

        async with asyncio.timeout(10):
            while (await operator.get("/dashboard")).json()["gateway_alerts"] == 0:
                pass
    (entry,) = (await operator.get("/audit", subject="gateway")).json()["items"]
    assert (entry["action"], entry["subject_id"]) == ("gateway_alert:unknown_charge", str(charge.key))
    assert entry["new_value"] == "20000"
