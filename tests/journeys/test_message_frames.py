"""Test that a client sends chat messages over its open socket (`send`), and gets `sent` or `refused`."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.sessions import pace
from curhat.sessions.schemas import MAX_MESSAGE_CHARACTERS, Message
from tests.support.clock import VirtualClock
from tests.support.server import Socket
from tests.support.signed_in import RunningServer


def frame(session_id: UUID, client_message_id: str, text: str) -> dict[str, Any]:
    """Make the frame that sends a message."""
    return {
        "op": "send",
        "session_id": str(session_id),
        "client_message_id": client_message_id,
        "text": text,
    }


async def answer(socket: Socket, sent: dict[str, Any]) -> dict[str, Any]:
    """Send the frame of a message, and wait for its answer."""
    await socket.connection.send(json.dumps(sent))
    return await socket.wait_for_answer(sent["client_message_id"])


async def test_a_message_over_the_socket_is_stored_once_and_reaches_both_sides(
    server: RunningServer, database: Database
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    async with customer.socket() as device, customer.socket() as tablet, mitra.socket() as phone:
        sent = await answer(device, frame(chat.id, "a1", 'halo "Kak" \\ 🙂\nbaris dua'))
        assert sent["op"] == "sent"
        for socket in (device, tablet, phone):
            assert await socket.wait_for("message.created", client_message_id="a1") == sent["message"]
        again = await answer(device, frame(chat.id, "a1", "something else"))
        assert again == sent
    posted = await customer.post(
        f"/sessions/{chat.id}/messages", {"client_message_id": "a1", "text": "by POST"}
    )
    assert posted.json() == sent["message"]
    assert await database.fetchval("SELECT count(*) FROM messages") == 1
    page = (await mitra.get(f"/sessions/{chat.id}/messages")).json()
    assert page["items"] == [sent["message"]]


@pytest.mark.parametrize("microseconds", [0, 1, 120_000])
async def test_the_stored_event_of_a_message_is_the_text_that_the_server_writes_for_the_message(
    server: RunningServer, database: Database, clock: VirtualClock, microseconds: int
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    odd = '"\\/\b\f\t\x1f é 中 👩‍👩‍👧 </script> 100% %s'
    now = await clock.now()
    await clock.set(now.replace(microsecond=microseconds) + timedelta(seconds=1))
    async with customer.socket() as device:
        sent = await answer(device, frame(chat.id, '"\\ é %s', odd))
    written = msgspec.json.encode(msgspec.convert(sent["message"], Message, strict=False)).decode()
    rows = await database.fetch("SELECT data FROM stream_events WHERE type = 'message.created'")
    assert [row["data"] for row in rows] == [written, written]


async def test_messages_over_one_socket_keep_their_order(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    async with customer.socket() as device:
        for number in range(15):
            await device.connection.send(json.dumps(frame(chat.id, str(number), f"text {number}")))
        for number in range(15):
            assert (await device.wait_for_answer(str(number)))["op"] == "sent"
    page = (await mitra.get(f"/sessions/{chat.id}/messages")).json()
    assert [each["text"] for each in page["items"]] == [f"text {number}" for number in reversed(range(15))]


async def test_a_message_over_the_socket_is_refused_with_the_same_code_as_over_http(
    server: RunningServer,
) -> None:
    customer, mitra, stranger = await server.customer(), await server.mitra(), await server.customer("Melati")
    chat = await server.chat(customer.id, mitra.id)
    texts = {"empty": "", "blank": " \n ", "nul": "a\0b", "long": "x" * (MAX_MESSAGE_CHARACTERS + 1)}
    async with customer.socket() as device, stranger.socket() as other:
        for key, text in texts.items():
            posted = await customer.post(
                f"/sessions/{chat.id}/messages", {"client_message_id": key, "text": text}
            )
            refused = await answer(device, frame(chat.id, key, text))
            assert refused == {
                "op": "refused",
                "client_message_id": key,
                "code": posted.json()["code"],
                "detail": posted.json()["detail"],
            }
            assert refused["code"] == "validation_failed"
        assert (await answer(other, frame(chat.id, "1", "halo")))["code"] == "not_found"
        assert (await answer(device, frame(uuid4(), "2", "halo")))["code"] == "not_found"
        assert (await customer.post(f"/sessions/{chat.id}/end")).status_code == 200
        assert (await answer(device, frame(chat.id, "3", "halo")))["code"] == "session_ended"
    assert (await mitra.get(f"/sessions/{chat.id}/messages")).json()["items"] == []


@pytest.mark.rule("X.13")
async def test_too_many_messages_over_the_socket_are_refused_until_a_named_time(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    async with customer.socket() as device:
        for number in range(20):
            assert (await answer(device, frame(chat.id, str(number), "halo")))["op"] == "sent"
        refused = await answer(device, frame(chat.id, "21", "halo"))
        assert refused["code"] == "too_many_requests"
        assert 1 <= refused["retry_after_seconds"] <= 5
        # The socket stays open, and a repeated message is answered.
        assert (await answer(device, frame(chat.id, "0", "halo")))["op"] == "sent"


@pytest.mark.rule("X.10")
async def test_while_postgresql_is_away_a_message_is_refused_and_the_socket_stays_open(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)

    async def fail() -> None:
        raise asyncpg.CannotConnectNowError("PostgreSQL is away")

    async with customer.socket() as device:
        set_pause_point("messages.before_commit", fail)
        refused = await answer(device, frame(chat.id, "a1", "halo"))
        assert refused["code"] == "service_unavailable"
        assert refused["retry_after_seconds"] > 0
        set_pause_point("messages.before_commit", None)
        assert (await answer(device, frame(chat.id, "a1", "halo")))["op"] == "sent"


async def test_a_message_is_stored_although_its_socket_closed_before_the_commit(
    server: RunningServer, database: Database
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    reached, opened = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await opened.wait()

    set_pause_point("messages.before_commit", hold)
    async with mitra.socket() as phone:
        async with customer.socket() as device:
            await device.connection.send(json.dumps(frame(chat.id, "a1", "halo")))
            await reached.wait()
        set_pause_point("messages.before_commit", None)
        opened.set()
        await phone.wait_for("message.created", client_message_id="a1")


async def test_a_send_frame_that_is_not_in_the_protocol_gets_an_error(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    bad = [
        {**frame(chat.id, "a", "halo"), "client_message_id": ""},
        {**frame(chat.id, "a", "halo"), "client_message_id": "x" * 101},
        {**frame(chat.id, "a", "halo"), "session_id": "1"},
        {**frame(chat.id, "a", "halo"), "sender": "mitra"},
        {"op": "send", "session_id": str(chat.id), "client_message_id": "a"},
    ]
    async with customer.socket() as device:
        for each in bad:
            await device.connection.send(json.dumps(each))
        await device.wait_until(lambda: sum(event["op"] == "error" for event in device.events) == len(bad))
        assert (await answer(device, frame(chat.id, "a", "halo")))["op"] == "sent"


@pytest.mark.rule("X.13")
async def test_repeating_one_message_over_and_over_is_refused_and_delays_nobody(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    async with customer.socket() as device, mitra.socket() as phone:
        answers = [await answer(device, frame(chat.id, "a1", "halo")) for _ in range(pace.MAX_TRIES + 1)]
        assert [each["op"] for each in answers] == ["sent"] * pace.MAX_TRIES + ["refused"]
        assert answers[-1]["code"] == "too_many_requests"
        assert (await answer(phone, frame(chat.id, "b1", "hai")))["op"] == "sent"
