"""Test the break of a mitra: the toggle goes off, and only the mitra goes online again."""

import pytest

from tests.support.clock import VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem


async def deadlines_of(server: RunningServer, mitra: Person) -> int:
    count: int = await server.database.fetchval(
        "SELECT count(*) FROM deadlines WHERE kind = 'push_break' AND entity_id = $1", mitra.id
    )
    return count


@pytest.mark.rule("M.3", "2b.8")
async def test_a_break_withdraws_the_requests_and_rejects_the_extensions_of_the_mitra(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    async with server.available_mitra() as mitra:
        customer = await server.customer()
        chat = await server.chat(customer.id, mitra.id)
        offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        order = {"offer_id": str(offer_id)}
        extension = (await customer.post(f"/sessions/{chat.id}/extensions", order)).json()
        request_id = await server.request((await server.customer()).id, mitra.id)
        taken = await mitra.put("/break", {"minutes": 15})
        assert (taken.status_code, taken.json()) == (
            200,
            {
                "online": False,
                "connected": True,
                "active_sessions": 1,
                "max_customers": 20,
                "break_until": "2026-01-01T12:15:00Z",
            },
        )
        assert problem(await mitra.post(f"/requests/{request_id}/accept")) == (409, "request_closed")
        reason = "SELECT close_reason FROM requests WHERE id = $1"
        assert await server.database.fetchval(reason, request_id) == "went_offline"
        offline = "SELECT mitra_went_offline FROM extensions WHERE id = $1"
        assert await server.database.fetchval(offline, extension["id"]) is True
        # The session goes on. A reload and a second phone show the same break.
        state = (await mitra.get("/state")).json()
        assert (len(state["sessions"]), state["presence"]) == (1, taken.json())
        assert (await mitra.get("/me")).json()["break_until"] == "2026-01-01T12:15:00Z"


@pytest.mark.rule("M.3")
async def test_the_devices_of_a_mitra_who_is_offline_already_learn_about_the_break(
    server: RunningServer,
) -> None:
    mitra = await server.mitra(online=False)
    async with mitra.socket() as phone:
        taken = (await mitra.put("/break", {"minutes": 30})).json()
        await phone.wait_for("presence.changed", online=False, break_until=taken["break_until"])


@pytest.mark.rule("M.3")
@pytest.mark.parametrize("online", [True, False])
async def test_the_toggle_ends_the_break(server: RunningServer, clock: VirtualClock, online: bool) -> None:
    await clock.set()
    mitra = await server.mitra()
    for minutes in (15, 60):
        assert (await mitra.put("/break", {"minutes": minutes})).status_code == 200
    assert await deadlines_of(server, mitra) == 1  # The second break replaced the first.
    await clock.advance(2 * 3600)  # A break that is over lasts until the mitra sets the toggle.
    late = (await mitra.get("/me")).json()
    assert (late["online"], late["break_until"]) == (False, "2026-01-01T13:00:00Z")
    ended = (await mitra.put("/presence", {"online": online})).json()
    assert (ended["online"], ended["break_until"]) == (online, None)
    assert await deadlines_of(server, mitra) == 0


@pytest.mark.rule("M.3")
async def test_a_release_that_knows_no_breaks_ends_the_break_of_a_mitra_who_goes_online(
    server: RunningServer,
) -> None:
    mitra = await server.mitra()
    assert (await mitra.put("/break", {"minutes": 15})).status_code == 200
    await server.database.execute("UPDATE mitras SET online = true WHERE id = $1", mitra.id)
    assert (await mitra.get("/me")).json()["break_until"] is None


@pytest.mark.rule("M.3")
@pytest.mark.parametrize("minutes", [0, 14, 61, 10**9, "15", None])
async def test_a_break_has_one_of_three_lengths(server: RunningServer, minutes: object) -> None:
    mitra = await server.mitra()
    assert problem(await mitra.put("/break", {"minutes": minutes})) == (422, "validation_failed")
    assert (await mitra.get("/me")).json()["online"] is True
