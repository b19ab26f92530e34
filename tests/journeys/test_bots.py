"""Test the simulated people of `curhat bots`.

With these people, a single developer can try the product in each role.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from curhat.dev.simulate import bots
from curhat.dev.simulate.main import http_client
from tests.support.signed_in import RunningServer


@pytest.fixture
async def with_bots(server: RunningServer) -> AsyncIterator[RunningServer]:
    """A server, and simulated people who use the server."""
    await server.make.offer(duration_minutes=30, price_rp=20_000)
    async with http_client() as http:
        living = asyncio.create_task(bots.live(server.database, http, server.url))
        yield server
        assert not living.done()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


async def test_a_simulated_mitra_accepts_a_real_customer_and_answers(with_bots: RunningServer) -> None:
    customer = await with_bots.customer("Melati")
    async with customer.socket() as phone:
        async with asyncio.timeout(20):
            while not (await customer.get("/mitra-availability")).json()["available"]:
                await asyncio.sleep(0.1)
        offers = (await customer.get("/pricing", purpose="session")).json()["offers"]
        opened = await customer.post("/payments", {"offer_id": offers[-1]["id"]})
        assert opened.status_code == 201, opened.text
        await customer.post(f"/payments/{opened.json()['id']}/confirm")
        session = await phone.wait_for("session.started", 20)
        assert session["mitra"]["display_name"].endswith(bots.MARK)
        said = {"client_message_id": "1", "text": "Halo, boleh cerita?"}
        await customer.post(f"/sessions/{session['id']}/messages", said)
        await phone.wait_for("message.created", 20, sender="mitra")


async def test_simulated_mitras_leave_a_simulated_customer_to_a_real_mitra(with_bots: RunningServer) -> None:
    mitra = await with_bots.mitra()
    async with mitra.socket() as phone:
        await mitra.put("/presence", {"online": True})
        card = await phone.wait_for("request.offered", 30)
        assert card["call_name"].endswith(bots.MARK)
        accepted = await mitra.post(f"/requests/{card['id']}/accept")
        assert accepted.status_code == 200, accepted.text
        await phone.wait_for("message.created", 20, sender="customer")
