"""Test the state that a simulated client shows.

An older snapshot with all later events applied must equal a fresh snapshot.
"""

from typing import Any

from curhat.dev.simulate.picture import CustomerPicture, Data, MitraPicture


def pairing(status: str = "open", **more: Any) -> Data:
    return {"id": "pa1", "payment_id": "p1", "status": status, "server_now": "whenever", **more}


def payment(status: str, payment_id: str = "p1", pairing: Data | None = None) -> Data:
    return {
        "id": payment_id,
        "purpose": "session",
        "status": status,
        "pairing": pairing,
        "server_now": "whenever",
    }


def session(status: str = "active") -> Data:
    return {"id": "s1", "status": status, "server_now": "whenever"}


def message(number: int, sender: str, read_at: str | None = None) -> Data:
    return {"id": f"m{number}", "session_id": "s1", "sender": sender, "text": "halo", "read_at": read_at}


def customer_state(payment: Data | None = None, session: Data | None = None) -> Data:
    return {
        "payment": payment,
        "pairing": None if payment is None else payment["pairing"],
        "session": session,
        "extension": None,
        "server_now": "later",
    }


def test_the_client_picture_equals_a_fresh_snapshot_after_each_event_of_a_journey() -> None:
    picture = CustomerPicture()
    picture.restore(customer_state())

    picture.apply("payment.updated", payment("pending"))
    assert picture.differences(customer_state(payment("pending"))) == set()

    searching = payment("confirmed", pairing=pairing())
    picture.apply("payment.updated", searching)
    picture.apply("pairing.updated", pairing())
    assert picture.differences(customer_state(searching)) == set()

    picture.apply("payment.updated", payment("served", pairing=pairing("matched")))
    picture.apply("pairing.updated", pairing("matched"))
    picture.apply("session.started", session())
    assert picture.differences(customer_state(session=session())) == set()

    picture.apply("session.ended", session("ended"))
    assert picture.differences(customer_state()) == set()


def test_an_event_of_an_earlier_payment_changes_nothing() -> None:
    picture = CustomerPicture()
    picture.restore(customer_state(payment("pending", "p2")))

    picture.apply("payment.updated", payment("unserved", "p1"))

    assert picture.differences(customer_state(payment("pending", "p2"))) == set()


def test_the_difference_after_a_missed_event_contains_the_field() -> None:
    picture = CustomerPicture()
    picture.restore(customer_state(payment("pending")))

    [payment_differs, _pairing_differs] = sorted(
        picture.differences(customer_state(payment("confirmed", pairing=pairing()))), reverse=True
    )

    assert "status is shown as 'pending', is 'confirmed'" in payment_differs


def test_a_read_mark_covers_the_messages_of_the_other_side_up_to_the_marked_message() -> None:
    picture = CustomerPicture()
    picture.restore(customer_state())
    picture.apply("session.started", session())
    for number, sender in ((1, "mitra"), (2, "customer"), (3, "mitra"), (4, "mitra")):
        picture.apply("message.created", message(number, sender))

    picture.apply(
        "messages.read",
        {"session_id": "s1", "reader": "customer", "up_to_message_id": "m3", "read_at": "t1"},
    )

    history = [
        message(1, "mitra", "t1"),
        message(2, "customer"),
        message(3, "mitra", "t1"),
        message(4, "mitra"),
    ]
    assert picture.chat_differences("s1", history) == set()
    assert picture.chat_differences("s1", history[:3]) == {
        f"message m4: is shown as {message(4, 'mitra')!r}, is None"
    }


def test_a_chat_is_not_compared_when_the_client_missed_its_start() -> None:
    picture = CustomerPicture()
    picture.restore(customer_state())

    picture.apply("message.created", message(1, "mitra"))

    assert picture.chat_differences("s1", [message(1, "mitra"), message(2, "mitra")]) == set()


def test_differences_in_cards_and_presence_count_as_transient() -> None:
    presence = {"online": True, "connected": True, "active_sessions": 0, "max_customers": 2}
    picture = MitraPicture()
    picture.restore({"sessions": [], "extensions": [], "requests": [], "presence": presence})
    fresh = {
        "sessions": [],
        "extensions": [],
        "requests": [{"id": "r1", "call_name": "Rio", "server_now": "later"}],
        "presence": {**presence, "active_sessions": 1},
    }

    assert picture.differences(fresh) == set()
    assert len(picture.transient_differences(fresh)) == 2

    picture.apply("request.offered", {"id": "r1", "call_name": "Rio", "server_now": "earlier"})
    picture.apply("presence.changed", {**presence, "active_sessions": 1})
    assert picture.transient_differences(fresh) == set()

    picture.apply("request.closed", {"id": "r1", "close_reason": "already_taken"})
    picture.apply("session.started", session())
    assert picture.cards == {}
    assert picture.differences({**fresh, "sessions": [session()]}) == set()
