"""Test a second chat with the same bestie (3, 4) and extensions (5) over HTTP and sockets, with a running worker."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from curhat.app.wiring import open_services
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.pause_points import set_pause_point
from tests.support.journey import Latch
from tests.support.server import Person, Socket
from tests.support.signed_in import RunningServer, development_settings, problem, start_server


@pytest.fixture(autouse=True)
async def worker(servers: EmbeddedServers, database_url: str, server: RunningServer) -> AsyncIterator[None]:
    """Runs the deadline loop of a worker process on the server's database."""
    settings = development_settings(database_url, servers.valkey_url)
    async with open_services(settings, serves_sockets=False, application_name="worker") as services:
        loop = asyncio.create_task(services.deadline_loop.run())
        yield
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def done(answer: httpx.Response) -> Any:
    """Assert that the answer is a success, and return its body."""
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def configure(server: RunningServer, key: str, value: str) -> None:
    await server.database.execute("UPDATE configuration SET value = $2 WHERE key = $1", key, value)


async def taken(server: RunningServer, payment_id: str) -> list[int]:
    """Return the amounts that the gateway charged for a payment, from the gateway's own records.

    Asserts that the gateway refunded nothing.
    """
    books = done(await server.http.get("/api/dev/gateway/charges", params={"payment_id": payment_id}))
    assert books["refunds"] == []
    return [charge["amount_rp"] for charge in books["charges"] if charge["status"] == "approved"]


@contextlib.asynccontextmanager
async def working(*mitras: Person) -> AsyncIterator[list[Socket]]:
    """Open a socket for each mitra, and switch each mitra's toggle on. Yields the sockets."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(mitra.socket()) for mitra in mitras]
        for mitra in mitras:
            done(await mitra.put("/presence", {"online": True}))
        yield sockets


async def make_past_chat(server: RunningServer, *, max_customers: int = 1) -> tuple[Person, Person]:
    """Make a customer and a mitra who had a chat with each other."""
    customer = await server.customer("Melati")
    mitra = await server.mitra("Kak Sari", max_customers=max_customers)
    chat = await server.chat(customer.id, mitra.id)
    done(await customer.post(f"/sessions/{chat.id}/end"))
    return customer, mitra


async def open_payment_for_mitra(server: RunningServer, customer: Person, mitra: Person) -> dict[str, Any]:
    """Open a payment for this mitra, but do not confirm it."""
    order = {"offer_id": str(await server.make.offer()), "target_mitra_id": str(mitra.id)}
    payment: dict[str, Any] = done(await customer.post("/payments", order))
    assert payment["target_mitra"] == {"id": str(mitra.id), "display_name": "Kak Sari"}
    return payment


async def confirm(customer: Person, payment: dict[str, Any]) -> dict[str, Any]:
    pairing: dict[str, Any] = done(await customer.post(f"/payments/{payment['id']}/confirm"))["pairing"]
    return pairing


# Same bestie again -----------------------------------------------------------------------------------------


@pytest.mark.rule("3.1", "3.2", "3.6", "3.7", "4.1", "4.2")
@pytest.mark.invariant(2)
async def test_the_chosen_bestie_of_a_past_chat_has_twenty_seconds_to_accept(server: RunningServer) -> None:
    customer, mitra = await make_past_chat(server)
    async with customer.socket() as phone, working(mitra) as (other_phone,):
        past = done(await customer.get("/sessions"))["items"][0]["mitra"]
        assert past == {"id": str(mitra.id), "display_name": "Kak Sari"}
        status = done(await customer.get(f"/mitras/{past['id']}/status"))
        assert (status["status"], status["other_available"]) == ("available", False)

        payment = await open_payment_for_mitra(server, customer, mitra)
        pairing = await confirm(customer, payment)
        assert (pairing["kind"], pairing["status"]) == ("targeted", "open")
        assert 19 < seconds_between(pairing["server_now"], pairing["deadline_at"]) <= 20
        card = await other_phone.wait_for("request.offered")
        assert (card["kind"], card["is_returning"], card["call_name"]) == ("targeted", True, "Melati")
        assert 15 < seconds_between(card["server_now"], card["deadline_at"]) <= 20
        assert str(customer.id) not in str(card)
        session = done(await mitra.post(f"/requests/{card['id']}/accept"))["session"]
        assert (await phone.wait_for("session.started"))["id"] == session["id"]
        assert await taken(server, payment["id"]) == [20_000]


@pytest.mark.rule("3.5", "3.8", "3.9", "V.3")
@pytest.mark.invariant(2, 10)
async def test_the_fallback_finds_another_bestie_under_the_same_payment_after_a_rejection(
    server: RunningServer,
) -> None:
    customer, mitra = await make_past_chat(server)
    other = await server.mitra("Kak Budi")
    async with working(mitra, other) as (asked, free):
        async with customer.socket() as phone:
            payment = await open_payment_for_mitra(server, customer, mitra)
            pairing = await confirm(customer, payment)
            card = await asked.wait_for("request.offered")
            last = phone.events[-1]["seq"]
        # The customer's phone is offline when the mitra rejects the request. The phone resumes its stream afterwards.
        done(await mitra.post(f"/requests/{card['id']}/reject"))
        async with customer.socket(epoch=phone.welcome["epoch"], seq=last) as phone:
            assert phone.welcome["resumed"] is True
            failed = await phone.wait_for("pairing.updated", status="failed")
            assert failed["failure_tag"] == "targeted_mitra_rejected"
            assert (failed["fallback"]["allowed"], failed["fallback"]["other_available"]) == (True, True)
            assert 1190 < seconds_between(failed["server_now"], failed["fallback"]["answer_by"]) <= 1200
            state = done(await customer.get("/state"))
            for shown in (state["pairing"], state["payment"]["pairing"]):
                assert (shown["id"], shown["fallback"]) == (pairing["id"], failed["fallback"])
            assert done(await customer.get(f"/pairings/{pairing['id']}"))["fallback"] == failed["fallback"]

            blast = done(await customer.post(f"/pairings/{pairing['id']}/fallback"))
            assert (blast["kind"], blast["payment_id"]) == ("blast", payment["id"])
            new = await free.wait_for("request.offered")
            assert (new["kind"], new["is_returning"]) == ("blast", False)
            done(await other.post(f"/requests/{new['id']}/accept"))
            started = await phone.wait_for("session.started")
            assert started["mitra"]["display_name"] == "Kak Budi"
        assert sum(event["type"] == "request.offered" for event in asked.events) == 1
        again = await customer.post(f"/pairings/{pairing['id']}/fallback")
        assert problem(again) == (409, "fallback_decided")
    assert await taken(server, payment["id"]) == [20_000]
    logged = await server.database.fetch("SELECT tag, recovered, case_id FROM failed_pairing_events")
    assert [tuple(row) for row in logged] == [("targeted_mitra_rejected", True, None)]


@pytest.mark.rule("3.3", "3.4", "3.6")
async def test_no_payment_is_opened_for_a_bestie_who_is_offline_or_full(server: RunningServer) -> None:
    customer, mitra = await make_past_chat(server)
    order = {"offer_id": str(await server.make.offer()), "target_mitra_id": str(mitra.id)}

    async def check(status: str, *, other_available: bool) -> None:
        shown = done(await customer.get(f"/mitras/{mitra.id}/status"))
        refused = await customer.post("/payments", order)
        assert (refused.status_code, refused.json()["code"]) == (409, "mitra_unavailable")
        for told in (shown, refused.json()):
            assert (told["status"], told["other_available"]) == (status, other_available)

    async with working(mitra):
        done(await mitra.put("/presence", {"online": False}))
        await check("offline", other_available=False)
        done(await mitra.put("/presence", {"online": True}))
        await server.chat((await server.customer()).id, mitra.id)
        await check("full", other_available=False)
        async with server.available_mitra():
            await check("full", other_available=True)
    assert await server.database.fetchval("SELECT count(*) FROM payments WHERE status = 'pending'") == 0


@pytest.mark.rule("4.4", "3.5", "3.8")
@pytest.mark.parametrize("when", ["before it is asked", "while it is asked"])
async def test_the_pairing_fails_immediately_when_the_bestie_goes_offline(
    server: RunningServer, when: str
) -> None:
    """The customer can then decline the fallback."""
    customer, mitra = await make_past_chat(server)
    async with customer.socket() as phone, working(mitra) as (asked,):
        payment = await open_payment_for_mitra(server, customer, mitra)
        if when == "before it is asked":
            latch = Latch()
            set_pause_point("confirm.before_charge", latch)
            paying = asyncio.create_task(confirm(customer, payment))
            await latch.reached.wait()
            done(await mitra.put("/presence", {"online": False}))
            latch.open()
            pairing = await paying
            assert pairing["status"] == "failed"
        else:
            pairing = await confirm(customer, payment)
            card = await asked.wait_for("request.offered")
            done(await mitra.put("/presence", {"online": False}))
            assert problem(await mitra.post(f"/requests/{card['id']}/accept")) == (409, "request_closed")
        failed = await phone.wait_for("pairing.updated", 2, status="failed")
        assert failed["failure_tag"] == "targeted_mitra_offline"
        assert (failed["fallback"]["allowed"], failed["fallback"]["other_available"]) == (True, False)
        # The payment stays confirmed, because the server has not refunded the charge. No other mitra is available now,
        # so the customer can take the fallback only later.
        assert done(await customer.get(f"/payments/{payment['id']}"))["status"] == "confirmed"
        path = f"/pairings/{pairing['id']}"
        assert problem(await customer.post(f"{path}/fallback")) == (409, "no_mitra_available")
        again = await customer.post("/payments", {"offer_id": payment["offer"]["id"]})
        assert (problem(again), again.json()["payment_id"]) == ((409, "journey_in_progress"), payment["id"])
        for _ in range(2):
            assert (await customer.post(f"{path}/decline-fallback")).status_code == 204
        assert (await phone.wait_for("payment.updated", status="unserved"))["id"] == payment["id"]
        assert problem(await customer.post(f"{path}/fallback")) == (409, "fallback_decided")
    assert await taken(server, payment["id"]) == [20_000]
    assert await server.database.fetchval("SELECT count(*) FROM review_cases") == 1


@pytest.mark.rule("4.3", "4.5", "3.5")
async def test_the_pairing_times_out_when_the_bestie_does_not_answer_in_the_configured_time(
    server: RunningServer,
) -> None:
    await configure(server, "returning_chat_confirmation_timeout_seconds", "5")
    customer, mitra = await make_past_chat(server)
    async with customer.socket() as phone, working(mitra) as (asked,):
        pairing = await confirm(customer, await open_payment_for_mitra(server, customer, mitra))
        card = await asked.wait_for("request.offered")
        failed = await phone.wait_for("pairing.updated", status="failed")
        assert failed["failure_tag"] == "targeted_mitra_timeout"
        late = seconds_between(pairing["deadline_at"], failed["server_now"])
        assert 0 <= late < 2
        closed = await asked.wait_for("request.closed")
        assert (closed["id"], closed["close_reason"]) == (card["id"], "timed_out")
        for answer in ("accept", "reject"):
            assert problem(await mitra.post(f"/requests/{card['id']}/{answer}")) == (409, "request_closed")


@pytest.mark.rule("4.2", "3.8")
async def test_cancelling_while_waiting_ends_the_journey_with_a_case_and_no_fallback(
    server: RunningServer,
) -> None:
    customer, mitra = await make_past_chat(server)
    async with working(mitra) as (asked,):
        payment = await open_payment_for_mitra(server, customer, mitra)
        pairing = await confirm(customer, payment)
        card = await asked.wait_for("request.offered")
        path = f"/pairings/{pairing['id']}"
        cancelled = done(await customer.post(f"{path}/cancel"))
        assert (cancelled["failure_tag"], cancelled["fallback"]) == ("customer_cancelled", None)
        assert (await asked.wait_for("request.closed"))["close_reason"] == "customer_cancelled"
        assert problem(await mitra.post(f"/requests/{card['id']}/accept")) == (409, "request_closed")
        assert problem(await customer.post(f"{path}/cancel")) == (409, "pairing_decided")
        for answer in ("fallback", "decline-fallback"):
            assert problem(await customer.post(f"{path}/{answer}")) == (409, "fallback_decided")
    assert done(await customer.get(f"/payments/{payment['id']}"))["status"] == "unserved"


@pytest.mark.rule("3.2", "3.7")
async def test_a_customer_cannot_find_the_mitra_or_the_pairing_of_another_customer(
    server: RunningServer,
) -> None:
    customer, mitra = await make_past_chat(server)
    stranger = await server.customer()
    async with working(mitra):
        assert problem(await stranger.get(f"/mitras/{mitra.id}/status")) == (404, "not_found")
        assert problem(await customer.get(f"/mitras/{uuid4()}/status")) == (404, "not_found")
        order = {"offer_id": str(await server.make.offer()), "target_mitra_id": str(mitra.id)}
        assert problem(await stranger.post("/payments", order)) == (404, "not_found")
        pairing = await confirm(customer, await open_payment_for_mitra(server, customer, mitra))
        for answer in ("fallback", "decline-fallback", "cancel"):
            path = f"/pairings/{pairing['id']}/{answer}"
            assert problem(await stranger.post(path)) == (404, "not_found")
            assert problem(await customer.post(path, key="")) == (400, "idempotency_key_missing")
        # The pairing has not failed yet, so there is no fallback.
        for answer in ("fallback", "decline-fallback"):
            refused = await customer.post(f"/pairings/{pairing['id']}/{answer}")
            assert problem(refused) == (409, "fallback_decided")


# More time -------------------------------------------------------------------------------------------------


class RunningChat:
    """A running chat of a customer and a mitra."""

    def __init__(
        self, server: RunningServer, customer: Person, mitra: Person, session: dict[str, Any]
    ) -> None:
        self.server = server
        self.customer = customer
        self.mitra = mitra
        self.session = session

    async def ask(self) -> httpx.Response:
        """Request 15 more minutes."""
        offer_id = await self.server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        return await self.customer.post(
            f"/sessions/{self.session['id']}/extensions", {"offer_id": str(offer_id)}
        )

    async def gateway(self, behaviour: str, extension: dict[str, Any]) -> None:
        """Set the behaviour of the mock gateway for the charge of this extension."""
        told = {"behaviour": behaviour, "payment_id": extension["payment_id"]}
        assert (await self.server.http.put("/api/dev/gateway", json=told)).is_success

    async def added_minutes(self) -> float:
        """Return the number of minutes that the extension added to the session.

        Asserts that both sides see the same number of minutes.
        """
        path = f"/sessions/{self.session['id']}"
        ends = {done(await person.get(path))["ends_at"] for person in (self.customer, self.mitra)}
        assert len(ends) == 1
        return seconds_between(self.session["ends_at"], ends.pop()) / 60


async def start_chat(server: RunningServer) -> RunningChat:
    """Start a chat of a new customer and a new mitra. The mitra is not connected until the test connects the mitra."""
    customer, mitra = await server.customer("Melati"), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    return RunningChat(server, customer, mitra, done(await customer.get(f"/sessions/{chat.id}")))


@pytest.mark.rule("5.3", "5.4", "5.5", "5.7", "V.3")
@pytest.mark.invariant(2, 7, 10)
async def test_an_extension_is_charged_immediately_when_the_mitra_approves(server: RunningServer) -> None:
    """The customer and the mitra see the new end of the session."""
    chat = await start_chat(server)
    async with chat.customer.socket() as phone, working(chat.mitra) as (other_phone,):
        asked = done(await chat.ask())
        assert (asked["status"], asked["default_action"]) == ("pending", "auto_approve")
        assert 9 < seconds_between(asked["server_now"], asked["deadline_at"]) <= 10
        assert asked["offer"]["price_rp"] == 10_000
        card = await other_phone.wait_for("extension.requested")
        assert (card["id"], card["default_action"]) == (asked["id"], "auto_approve")
        assert await taken(server, asked["payment_id"]) == []
        pending = await chat.ask()
        assert (problem(pending), pending.json()["extension_id"]) == ((409, "extension_pending"), asked["id"])
        # A second phone of the customer connects while the extension is pending.
        assert done(await chat.customer.get("/state"))["extension"]["id"] == asked["id"]
        assert [each["id"] for each in done(await chat.mitra.get("/state"))["extensions"]] == [asked["id"]]
        async with chat.customer.socket(epoch=phone.welcome["epoch"], seq=phone.welcome["seq"]) as second:
            assert (await second.wait_for("extension.requested"))["id"] == asked["id"]

        accept = f"/extensions/{asked['id']}/accept"
        approved = done(await chat.mitra.post(accept))
        assert (approved["status"], approved["decided_by"]) == ("approved", "mitra")
        assert done(await chat.mitra.post(accept))["status"] == "approved"
        assert problem(await chat.mitra.post(f"/extensions/{asked['id']}/reject")) == (
            409,
            "extension_decided",
        )
        for device in (phone, other_phone):
            await device.wait_for("extension.decided", status="approved")
            updated = await device.wait_for("session.updated")
            assert seconds_between(chat.session["ends_at"], updated["ends_at"]) == 15 * 60
        assert done(await chat.customer.get("/state"))["extension"] is None
    assert await chat.added_minutes() == 15
    assert await taken(server, asked["payment_id"]) == [10_000]


@pytest.mark.rule("5.1", "5.2", "5.7")
@pytest.mark.invariant(5, 7)
@pytest.mark.parametrize("action", ["auto_approve", "auto_reject"])
async def test_the_configured_default_action_takes_effect_at_the_deadline(
    server: RunningServer, action: str
) -> None:
    await configure(server, "extension_timeout_seconds", "5")
    await configure(server, "extension_default_action_on_timeout", action)
    chat = await start_chat(server)
    async with chat.customer.socket() as phone, working(chat.mitra):
        asked = done(await chat.ask())
        assert asked["default_action"] == action
        expected = "approved" if action == "auto_approve" else "rejected"
        decided = await phone.wait_for("extension.decided", status=expected)
        assert decided["decided_by"] == "timeout"
        assert 0 <= seconds_between(asked["deadline_at"], decided["server_now"]) < 2
        late = await chat.mitra.post(f"/extensions/{asked['id']}/accept")
        assert problem(late) == (409, "extension_decided")
    assert await chat.added_minutes() == (15 if action == "auto_approve" else 0)
    assert await taken(server, asked["payment_id"]) == ([10_000] if action == "auto_approve" else [])


@pytest.mark.rule("5.4")
@pytest.mark.invariant(7)
async def test_a_rejected_extension_is_not_charged_and_the_customer_can_ask_again(
    server: RunningServer,
) -> None:
    chat = await start_chat(server)
    async with chat.customer.socket() as phone, working(chat.mitra):
        asked = done(await chat.ask())
        for _ in range(2):
            rejected = done(await chat.mitra.post(f"/extensions/{asked['id']}/reject"))
            assert (rejected["status"], rejected["decided_by"]) == ("rejected", "mitra")
        await phone.wait_for("extension.decided", status="rejected")
        assert await taken(server, asked["payment_id"]) == []
        assert done(await chat.ask())["status"] == "pending"
    assert await chat.added_minutes() == 0


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7)
async def test_an_extension_is_rejected_immediately_when_the_mitra_is_disconnected_or_goes_offline(
    server: RunningServer,
) -> None:
    chat = await start_chat(server)
    unreachable = await chat.ask()
    assert unreachable.status_code == 201
    assert (unreachable.json()["status"], unreachable.json()["decided_by"]) == (
        "rejected",
        "mitra_unreachable",
    )
    async with chat.customer.socket() as phone, working(chat.mitra):
        asked = done(await chat.ask())
        assert asked["status"] == "pending"
        done(await chat.mitra.put("/presence", {"online": False}))
        decided = await phone.wait_for("extension.decided", 2, id=asked["id"])
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert problem(await chat.mitra.post(f"/extensions/{asked['id']}/accept")) == (
            409,
            "extension_decided",
        )
    assert await chat.added_minutes() == 0


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7)
async def test_an_extension_is_rejected_when_the_socket_of_the_mitra_stays_closed_for_three_seconds(
    server: RunningServer,
) -> None:
    await configure(server, "extension_timeout_seconds", "60")
    chat = await start_chat(server)
    async with chat.customer.socket() as phone:
        async with working(chat.mitra):
            asked = done(await chat.ask())
        # The mitra reconnects before the time limit.
        async with working(chat.mitra):
            with pytest.raises(TimeoutError):
                await phone.wait_for("extension.decided", 4)
            left_at = done(await chat.customer.get("/state"))["server_now"]
        decided = await phone.wait_for("extension.decided", 8)
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert 2.5 < seconds_between(left_at, decided["server_now"]) < 7
        assert decided["server_now"] < asked["deadline_at"]
    assert await taken(server, asked["payment_id"]) == []


@pytest.mark.rule("5.6", "5.8")
@pytest.mark.invariant(7)
async def test_an_unanswered_extension_is_not_charged_if_the_phone_of_the_mitra_died_without_closing_its_socket(
    server: RunningServer, servers: EmbeddedServers, database_url: str
) -> None:
    """The first phone dies 0.8 s before a request with a window of 5 s.

    The second phone dies 5 s after a request with a window of 10 s. The phone of a third mitra also dies. The tablet of
    the third mitra is connected to another server, so the extension is approved without an answer.
    """
    settings = development_settings(database_url, servers.valkey_url)
    presence = server.application.services.presence
    early, late, alive = [await start_chat(server) for _ in range(3)]

    async def silent_for(chat: RunningChat, seconds: float) -> None:
        while (
            min(each.last_frame for each in (await presence.frame_ages([chat.mitra.id]))[chat.mitra.id])
            < seconds
        ):
            await asyncio.sleep(0.01)

    async with (
        start_server(settings, server.database) as other_server,
        late.customer.socket() as late_customer,
        early.customer.socket() as early_customer,
        alive.customer.socket() as alive_customer,
        working(early.mitra, late.mitra, alive.mitra) as phones,
        Person(other_server.http, "mitra", alive.mitra.id, alive.mitra.token).socket() as tablet,
    ):
        asked_late = done(await late.ask())
        await configure(server, "extension_timeout_seconds", "5")
        for phone in (phones[0], phones[2]):
            await phone.stop()
        await silent_for(early, 0.8)
        asked_early, asked_alive = done(await early.ask()), done(await alive.ask())
        assert (asked_early["status"], asked_alive["status"]) == ("pending", "pending")
        asked_at = asyncio.get_running_loop().time()
        decided = await early_customer.wait_for("extension.decided", id=asked_early["id"])
        # The request with a window of 10 s came first, so five seconds of its window have passed.
        await phones[1].stop()
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        decided = await alive_customer.wait_for("extension.decided", id=asked_alive["id"], status="approved")
        assert decided["decided_by"] == "timeout"
        pinged_at = [asked_at, *(at for at in tablet.pinged_at if at > asked_at)]
        assert max(later - at for at, later in itertools.pairwise(pinged_at)) < 1.7
        decided = await late_customer.wait_for("extension.decided", id=asked_late["id"])
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert seconds_between(asked_late["deadline_at"], decided["server_now"]) >= 0
    for asked, amounts in ((asked_early, []), (asked_alive, [10_000]), (asked_late, [])):
        assert await taken(server, asked["payment_id"]) == amounts


@pytest.mark.rule("5.7")
async def test_a_declined_charge_fails_the_extension_and_does_not_change_the_chat(
    server: RunningServer,
) -> None:
    chat = await start_chat(server)
    async with chat.customer.socket() as phone, working(chat.mitra) as (other_phone,):
        asked = done(await chat.ask())
        await chat.gateway("decline", asked)
        answered = done(await chat.mitra.post(f"/extensions/{asked['id']}/accept"))
        assert answered["status"] == "charge_failed"
        for device in (phone, other_phone):
            await device.wait_for("extension.decided", status="charge_failed")
    assert await chat.added_minutes() == 0
    assert await taken(server, asked["payment_id"]) == []


@pytest.mark.rule("5.7", "2a.6")
@pytest.mark.invariant(2, 9)
@pytest.mark.parametrize("behaviour", ["slow", "lost", "double"])
async def test_both_sides_get_the_outcome_of_a_late_or_lost_gateway_answer(
    server: RunningServer, behaviour: str
) -> None:
    chat = await start_chat(server)
    async with chat.customer.socket() as phone, working(chat.mitra) as (other_phone,):
        asked = done(await chat.ask())
        await chat.gateway(behaviour, asked)
        answered = done(await chat.mitra.post(f"/extensions/{asked['id']}/accept"))
        assert answered["status"] == ("approved" if behaviour == "double" else "charging")
        if behaviour != "double":
            pending = await chat.ask()
            assert problem(pending) == (409, "extension_pending")
        for device in (phone, other_phone):
            await device.wait_for("extension.decided", 15, status="approved")
    assert await chat.added_minutes() == 15
    assert await taken(server, asked["payment_id"]) == [10_000]


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(7)
async def test_ending_the_chat_rejects_its_pending_extension_and_forbids_new_extensions(
    server: RunningServer,
) -> None:
    chat = await start_chat(server)
    async with working(chat.mitra) as (other_phone,):
        asked = done(await chat.ask())
        done(await chat.customer.post(f"/sessions/{chat.session['id']}/end"))
        decided = await other_phone.wait_for("extension.decided")
        assert (decided["status"], decided["decided_by"]) == ("rejected", "session_ended")
        assert problem(await chat.ask()) == (409, "session_ended")
        for answer in ("accept", "reject"):
            late = await chat.mitra.post(f"/extensions/{asked['id']}/{answer}")
            assert problem(late) == (409, "extension_decided")
    assert await taken(server, asked["payment_id"]) == []


@pytest.mark.rule("5.4", "5.7")
async def test_an_extension_of_another_customer_and_an_offer_for_another_purpose_are_not_found(
    server: RunningServer,
) -> None:
    chat, other = await start_chat(server), await start_chat(server)
    path = f"/sessions/{chat.session['id']}/extensions"
    async with working(chat.mitra):
        trial = await server.make.offer(duration_minutes=5, price_rp=0)
        for offer_id in (trial, await server.make.offer(), uuid4()):
            refused = await chat.customer.post(path, {"offer_id": str(offer_id)})
            assert problem(refused) == (404, "not_found")
        offers = done(await chat.customer.get("/pricing", purpose="extension"))["offers"]
        assert all(not offer["is_trial"] for offer in offers)
        offer = {"offer_id": str(await server.make.offer(purpose="extension"))}
        assert problem(await other.customer.post(path, offer)) == (404, "not_found")
        assert problem(await chat.customer.post(path, offer, key="")) == (400, "idempotency_key_missing")
        asked = done(await chat.ask())
        for answer in ("accept", "reject"):
            answer_path = f"/extensions/{asked['id']}/{answer}"
            assert problem(await other.mitra.post(answer_path)) == (404, "not_found")
            assert problem(await chat.mitra.post(answer_path, key="")) == (400, "idempotency_key_missing")
        unknown = f"/extensions/{UUID(int=0)}/accept"
        assert problem(await chat.mitra.post(unknown)) == (404, "not_found")


@pytest.mark.rule("4.4")
async def test_a_mitra_who_returns_while_the_customer_pays_gets_the_request(server: RunningServer) -> None:
    customer, mitra = await make_past_chat(server)
    async with working(mitra), server.available_mitra():
        payment = await open_payment_for_mitra(server, customer, mitra)
        done(await mitra.put("/presence", {"online": False}))
        latch = Latch()
        set_pause_point("confirm.before_charge", latch)
        paying = asyncio.create_task(confirm(customer, payment))
        await latch.reached.wait()
        done(await mitra.put("/presence", {"online": True}))
        assert done(await customer.get(f"/mitras/{mitra.id}/status"))["status"] == "available"
        latch.open()

        pairing = await paying
        assert (pairing["kind"], pairing["status"]) == ("targeted", "open")


@pytest.mark.rule("3.5", "4.4")
@pytest.mark.invariant(10)
async def test_the_confirmation_and_the_event_and_the_pairing_show_the_same_fallback(
    server: RunningServer,
) -> None:
    customer, mitra = await make_past_chat(server)
    other = await server.mitra("Kak Budi")
    async with customer.socket() as phone, working(mitra, other):
        payment = await open_payment_for_mitra(server, customer, mitra)
        done(await mitra.put("/presence", {"online": False}))

        pairing = await confirm(customer, payment)

        assert pairing["failure_tag"] == "targeted_mitra_offline"
        told = await phone.wait_for("pairing.updated")
        read = done(await customer.get(f"/pairings/{pairing['id']}"))
        for shown in (pairing, told, read):
            assert (shown["fallback"]["allowed"], shown["fallback"]["other_available"]) == (True, True)
        failed = [
            event["data"]["id"]
            for event in phone.events
            if event["type"] == "pairing.updated" and event["data"]["status"] == "failed"
        ]
        assert failed == [pairing["id"]]


@pytest.mark.invariant(10)
async def test_the_customer_sees_the_blast_even_if_its_id_sorts_before_the_targeted_pairing(
    server: RunningServer,
) -> None:
    customer, mitra = await make_past_chat(server)
    other = await server.mitra("Kak Budi")
    async with working(mitra, other) as (other_phone, _):
        payment = await open_payment_for_mitra(server, customer, mitra)
        pairing = await confirm(customer, payment)
        card = await other_phone.wait_for("request.offered")
        done(await mitra.post(f"/requests/{card['id']}/reject"))
        # Simulate a clock that was set back by a minute. The next pairing then gets a smaller id than this pairing.
        await server.database.execute(
            "ALTER TABLE pairings ALTER id SET DEFAULT uuidv7('-1 minute'::interval)"
        )

        blast = done(await customer.post(f"/pairings/{pairing['id']}/fallback"))

        assert blast["id"] < pairing["id"]
        assert done(await customer.get("/state"))["pairing"]["id"] == blast["id"]


@pytest.mark.invariant(2, 9)
async def test_a_stalled_confirmation_does_not_charge_after_a_second_confirmation(
    server: RunningServer,
) -> None:
    customer = await server.customer("Melati")
    mitra = await server.mitra("Kak Sari")
    async with working(mitra):
        payment = done(await customer.post("/payments", {"offer_id": str(await server.make.offer())}))
        latch = Latch()

        async def stall() -> None:
            set_pause_point("confirm.before_charge", None)
            await latch()

        set_pause_point("confirm.before_charge", stall)
        first = asyncio.create_task(customer.post(f"/payments/{payment['id']}/confirm"))
        await latch.reached.wait()
        # The worker asks the gateway, and the gateway does not know the charge. So the customer can confirm the payment
        # again.
        async with asyncio.timeout(20):
            while done(await customer.get(f"/payments/{payment['id']}"))["status"] != "pending":
                await asyncio.sleep(0.1)
        done(await customer.post(f"/payments/{payment['id']}/confirm"))
        latch.open()
        done(await first)

        assert await taken(server, payment["id"]) == [20_000]


@pytest.mark.rule("2a.4")
async def test_cancelling_a_confirmed_payment_is_refused_even_after_the_chat(server: RunningServer) -> None:
    customer, _ = await make_past_chat(server)
    payment_id = await server.database.fetchval("SELECT id FROM payments")

    assert problem(await customer.post(f"/payments/{payment_id}/cancel")) == (409, "payment_confirmed")
