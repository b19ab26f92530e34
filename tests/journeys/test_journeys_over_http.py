"""Test whole journeys of a customer's phone and a mitra's phone over HTTP and sockets."""

from datetime import datetime

import pytest

from tests.support.signed_in import RunningServer


def seconds_left(shown: dict[str, str]) -> float:
    """Return the seconds that a countdown on a phone shows, by the server's clock."""
    left = datetime.fromisoformat(shown["deadline_at"]) - datetime.fromisoformat(shown["server_now"])
    return left.total_seconds()


@pytest.mark.rule("1.1", "2b.1", "2b.2", "2c.1", "V.2", "V.3", "V.4", "X.4")
@pytest.mark.invariant(10)
async def test_a_journey_runs_from_the_call_to_action_to_the_end_of_the_chat(server: RunningServer) -> None:
    customer, mitra = await server.customer("Melati"), await server.mitra()
    offer_id = await server.make.offer(duration_minutes=30, price_rp=20_000)
    async with customer.socket() as phone, mitra.socket() as other_phone:
        assert (await mitra.put("/presence", {"online": True})).json()["online"] is True

        opened = await customer.post("/payments", {"offer_id": str(offer_id)})
        assert opened.status_code == 201
        payment = opened.json()
        assert (payment["status"], payment["amount_rp"], payment["pairing"]) == ("pending", 20_000, None)
        assert payment["expires_at"] > payment["server_now"]

        confirmed = await customer.post(f"/payments/{payment['id']}/confirm")
        assert confirmed.status_code == 200
        searching = confirmed.json()["pairing"]
        assert (searching["status"], searching["kind"]) == ("open", "blast")
        assert 55 < seconds_left(searching) <= 60

        card = await other_phone.wait_for("request.offered")
        assert (card["call_name"], card["is_returning"], card["duration_minutes"]) == ("Melati", False, 30)
        assert 50 < seconds_left(card) <= 60
        assert (await mitra.get("/requests")).json()["items"][0]["id"] == card["id"]
        assert (await customer.get(f"/pairings/{searching['id']}")).json()["status"] == "open"

        accepted = await mitra.post(f"/requests/{card['id']}/accept")
        assert accepted.status_code == 200
        session = accepted.json()["session"]
        assert session["customer"] == {"call_name": "Melati"}

        started = await phone.wait_for("session.started")
        assert started["id"] == session["id"]
        assert "customer" not in started
        assert (await phone.wait_for("pairing.updated", status="matched"))["session_id"] == session["id"]
        assert (await phone.wait_for("payment.updated", status="served"))["id"] == payment["id"]
        assert (await other_phone.wait_for("request.closed"))["close_reason"] == "accepted"

        said = {"client_message_id": "1", "text": "Halo, boleh cerita?"}
        for _ in range(2):  # The phone did not get the first answer, so it sends the message again.
            sent = await customer.post(f"/sessions/{session['id']}/messages", said)
            assert sent.status_code == 201
        heard = await other_phone.wait_for("message.created")
        assert (heard["text"], heard["sender"]) == (said["text"], "customer")
        await mitra.post(f"/sessions/{session['id']}/read", {"up_to_message_id": heard["id"]}, key="")
        assert (await phone.wait_for("messages.read"))["up_to_message_id"] == heard["id"]

        state = (await customer.get("/state")).json()
        assert (state["payment"], state["session"]["id"]) == (None, session["id"])
        assert (await customer.post(f"/sessions/{session['id']}/end")).json()[
            "end_reason"
        ] == "customer_ended"
        assert (await other_phone.wait_for("session.ended"))["end_reason"] == "customer_ended"
        late = await mitra.post(
            f"/sessions/{session['id']}/messages", {"client_message_id": "2", "text": "Halo"}
        )
        assert (late.status_code, late.json()["code"]) == (409, "session_ended")


@pytest.mark.rule("2b.9", "V.3", "X.1")
async def test_both_phones_of_a_customer_show_the_search_and_its_cancellation(server: RunningServer) -> None:
    customer = await server.customer()
    pairing_id = await server.search(customer.id, [])
    async with customer.socket() as first:
        found = (await customer.get("/state")).json()["pairing"]
        assert (found["id"], found["status"]) == (str(pairing_id), "open")
        cancelled = await customer.post(f"/pairings/{pairing_id}/cancel")
        assert cancelled.json()["failure_tag"] == "customer_cancelled"
        assert (await first.wait_for("payment.updated", status="unserved"))["pairing"]["failure_tag"] == (
            "customer_cancelled"
        )
    after = (await customer.get("/state")).json()
    assert (after["payment"]["status"], after["session"]) == ("unserved", None)


@pytest.mark.rule("2a.6", "2a.7")
async def test_a_declined_payment_stays_pending_and_can_be_tried_again(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    offer_id = await server.make.offer()
    async with mitra.socket():
        await mitra.put("/presence", {"online": True})
        payment = (await customer.post("/payments", {"offer_id": str(offer_id)})).json()
        told = {"behaviour": "decline", "payment_id": payment["id"]}
        assert (await server.http.put("/api/dev/gateway", json=told)).status_code == 200
        declined = await customer.post(f"/payments/{payment['id']}/confirm", key="first-try")
        assert (declined.status_code, declined.json()["code"]) == (402, "payment_declined")
        assert (await customer.get(f"/payments/{payment['id']}")).json()["status"] == "pending"
        await server.http.put("/api/dev/gateway", json=told | {"behaviour": "double"})
        again = await customer.post(f"/payments/{payment['id']}/confirm", key="second-try")
        assert (again.status_code, again.json()["payment"]["status"]) == (200, "confirmed")
        repeated = await customer.post(f"/payments/{payment['id']}/confirm", key="first-try")
        assert repeated.json()["code"] == "payment_declined"
    charges = await server.http.get("/api/dev/gateway/charges", params={"payment_id": payment["id"]})
    assert [charge["status"] for charge in charges.json()["charges"]] == ["declined", "approved"]


@pytest.mark.rule("X.7", "2b.7")
@pytest.mark.invariant(8)
async def test_a_changed_capacity_of_one_mitra_takes_effect_immediately(server: RunningServer) -> None:
    small, large = await server.mitra(), await server.mitra()
    await server.database.execute(
        "UPDATE mitras SET max_customers = 3, online = true WHERE id = $1", large.id
    )
    await server.database.execute(
        "UPDATE mitras SET max_customers = 1, online = true WHERE id = $1", small.id
    )
    assert (await small.get("/me")).json()["max_customers"] == 1
    assert (await large.get("/me")).json()["max_customers"] == 3
    first = await server.request((await server.customer()).id, large.id)
    second = await server.request((await server.customer()).id, large.id)
    assert (await large.post(f"/requests/{first}/accept")).status_code == 200
    await server.database.execute("UPDATE mitras SET max_customers = 1 WHERE id = $1", large.id)
    refused = await large.post(f"/requests/{second}/accept")
    assert (refused.status_code, refused.json()["code"]) == (409, "at_capacity")
