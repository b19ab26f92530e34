"""Test the answers and the error codes of the HTTP operations on chat sessions."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from httpx import ASGITransport, AsyncClient, Response
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException

from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.kit.http import StrictRequest, handle_business_error, handle_http_exception, handle_unexpected
from curhat.kit.identity import Identity
from curhat.sessions.endpoints import ROUTES
from curhat.sessions.writer import MessageWriter
from tests.support.chats import Chat, open_chat
from tests.support.people import Make
from tests.support.signed_in import problem


@pytest.fixture
async def client(database: Database) -> AsyncIterator[AsyncClient]:
    """Make a client that calls the operations of the sessions package.

    A header identifies the caller, because the sign-in belongs to another package.
    """

    def customer(request: Request[None, None, State]) -> Identity:
        return Identity(role="customer", user_id=UUID(request.headers["x-user"]))

    def mitra(request: Request[None, None, State]) -> Identity:
        return Identity(role="mitra", user_id=UUID(request.headers["x-user"]))

    message_writer = MessageWriter(database)
    app = Litestar(
        route_handlers=ROUTES,
        dependencies={
            "database": Provide(lambda: database, sync_to_thread=False),
            "message_writer": Provide(lambda: message_writer, sync_to_thread=False),
            "customer": Provide(customer, sync_to_thread=False),
            "mitra": Provide(mitra, sync_to_thread=False),
        },
        exception_handlers={
            BusinessError: handle_business_error,
            HTTPException: handle_http_exception,
            Exception: handle_unexpected,
        },
        request_class=StrictRequest,
        logging_config=None,
    )
    transport = ASGITransport(app)  # type: ignore[arg-type]
    async with AsyncClient(transport=transport, base_url="http://curhat.test") as opened:
        yield opened


@pytest.fixture
async def chat(database: Database, make: Make) -> Chat:
    """Start a chat of 30 minutes."""
    return await open_chat(database, make)


def path(chat: Chat, who: Identity, rest: str = "") -> str:
    """Return the path of a chat for one of its members."""
    return f"/api/{'client' if who.role == 'customer' else 'mitra'}/sessions/{chat.id}{rest}"


def headers(who: Identity, key: str | None = None) -> dict[str, str]:
    """Return the headers of a request from `who`. The headers contain an Idempotency-Key if `key` is given."""
    return {"x-user": str(who.user_id)} | ({"idempotency-key": key} if key else {})


async def send(client: AsyncClient, chat: Chat, who: Identity, name: str, text: str) -> Response:
    """Send a message, and return the response."""
    return await client.post(
        path(chat, who, "/messages"),
        json={"client_message_id": name, "text": text},
        headers=headers(who),
    )


async def test_a_chat_runs_from_its_first_message_to_the_history(client: AsyncClient, chat: Chat) -> None:
    sent = await send(client, chat, chat.customer, "c1", "Halo, kak 👋")
    assert sent.status_code == 201
    assert sent.json().keys() == {
        "id",
        "session_id",
        "client_message_id",
        "sender",
        "text",
        "sent_at",
        "read_at",
        "reply_to_message_id",
    }
    repeated = await send(client, chat, chat.customer, "c1", "Halo, kak 👋")
    assert (repeated.status_code, repeated.json()) == (201, sent.json())

    read = await client.post(
        path(chat, chat.mitra, "/read"),
        json={"up_to_message_id": sent.json()["id"]},
        headers=headers(chat.mitra),
    )
    assert (read.status_code, read.content) == (204, b"")
    await send(client, chat, chat.mitra, "m1", "Halo juga")

    page = (await client.get(path(chat, chat.mitra, "/messages"), headers=headers(chat.mitra))).json()
    assert [message["text"] for message in page["items"]] == ["Halo juga", "Halo, kak 👋"]
    assert page["items"][1]["read_at"] is not None
    assert page["next_cursor"] is None
    older = await client.get(
        path(chat, chat.customer, "/messages"),
        params={"before": page["items"][0]["id"]},
        headers=headers(chat.customer),
    )
    assert [message["text"] for message in older.json()["items"]] == ["Halo, kak 👋"]

    ended = await client.post(
        path(chat, chat.mitra, "/end"), json={"reason": "Saya sakit."}, headers=headers(chat.mitra, "k1")
    )
    assert ended.status_code == 200
    assert (ended.json()["status"], ended.json()["end_reason"]) == ("ended", "mitra_ended")
    assert ended.json()["customer"] == {"call_name": "Bunga"}
    assert problem(await send(client, chat, chat.customer, "c2", "Kak?")) == (409, "session_ended")

    for who in (chat.customer, chat.mitra):
        one = (await client.get(path(chat, who), headers=headers(who))).json()
        (listed,) = (
            await client.get(
                f"/api/{'client' if who is chat.customer else 'mitra'}/sessions", headers=headers(who)
            )
        ).json()["items"]
        for shown in (one, listed):
            assert shown["end_reason"] == "mitra_ended"
            assert ("customer" in shown) == (who is chat.mitra)
            assert "sakit" not in str(shown)


@pytest.mark.rule("X.8")
async def test_a_repeated_end_of_a_session_gets_the_first_answer_only_under_the_same_key(
    client: AsyncClient, chat: Chat
) -> None:
    first = await client.post(path(chat, chat.customer, "/end"), headers=headers(chat.customer, "k1"))
    again = await client.post(path(chat, chat.customer, "/end"), headers=headers(chat.customer, "k1"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    anew = await client.post(path(chat, chat.customer, "/end"), headers=headers(chat.customer, "k2"))
    other = await client.post(
        path(chat, chat.mitra, "/end"), json={"reason": "sakit"}, headers=headers(chat.mitra, "k1")
    )
    assert problem(anew) == problem(other) == (409, "session_ended")
    keyless = await client.post(path(chat, chat.customer, "/end"), headers=headers(chat.customer))
    assert problem(keyless) == (400, "idempotency_key_missing")


@pytest.mark.rule("X.11")
async def test_an_end_with_a_review_is_refused_while_the_mitra_is_there_and_its_answer_names_the_review(
    database: Database, client: AsyncClient, chat: Chat
) -> None:
    async def end(key: str, body: object) -> Response:
        where = path(chat, chat.customer, "/end")
        return await client.post(where, json=body, headers=headers(chat.customer, key))

    refused = await end("k1", {"review": True})
    assert problem(refused) == (409, "mitra_not_away")
    assert refused.json()["mitra_connected"] is True
    assert problem(await end("k2", {"review": "yes"})) == (422, "validation_failed")
    assert problem(await end("k3", {"reason": "capek"})) == (422, "validation_failed")
    shown = (await client.get(path(chat, chat.customer), headers=headers(chat.customer))).json()
    assert (shown["status"], shown["mitra_connected"], shown["extended_minutes"]) == ("active", True, 0)
    theirs = (await client.get(path(chat, chat.mitra), headers=headers(chat.mitra))).json()
    assert "mitra_connected" not in theirs
    await database.execute("UPDATE sessions SET mitra_away_since = curhat_now() - interval '60 seconds'")
    ended = (await end("k4", {"review": True})).json()
    assert (ended["end_reason"], ended["review_reason"]) == ("customer_ended", "mitra_away")
    assert (await end("k4", {"review": True})).json() == ended


@pytest.mark.rule("X.8")
async def test_a_mitra_must_give_a_reason_to_end_a_session(
    database: Database, client: AsyncClient, chat: Chat
) -> None:
    for number, body in enumerate(
        (
            None,
            {},
            {"reason": ""},
            {"reason": " \n\t"},
            {"reason": "x" * 501},
            {"reason": "\x00"},
            {"reason": 1},
            {"reason": "sakit", "end_reason": "time_up"},
        )
    ):
        refused = await client.post(
            path(chat, chat.mitra, "/end"), json=body, headers=headers(chat.mitra, f"k{number}")
        )
        assert problem(refused) == (422, "validation_failed"), body
    assert await database.fetchval("SELECT status FROM sessions WHERE id = $1", chat.id) == "active"


async def test_a_text_of_1_to_4000_characters_is_stored_unchanged(client: AsyncClient, chat: Chat) -> None:
    for number, text in enumerate(("x", "x" * 4000, "😀" * 4000, "  x  ", "a\nb", "👩\u200d🦰", "x\n")):
        sent = await send(client, chat, chat.customer, str(number), text)
        assert (sent.status_code, sent.json().get("text")) == (201, text)


MALFORMED_MESSAGES = (
    b"",
    b"null",
    b"[]",
    b"{",
    b'"text"',
    b'{"client_message_id": "1"}',
    b'{"text": "halo"}',
    b'{"client_message_id": "1", "text": null}',
    b'{"client_message_id": "1", "text": 1}',
    b'{"client_message_id": 1, "text": "halo"}',
    b'{"client_message_id": "1", "text": ""}',
    b'{"client_message_id": "1", "text": " \\u00a0\\n\\u3000"}',
    b'{"client_message_id": "1", "text": "\\u0000"}',
    b'{"client_message_id": "1", "text": "a\\u0000b"}',
    b'{"client_message_id": "1", "text": "a\\n\\u0000"}',
    b'{"client_message_id": "1", "text": "%s"}' % (b"x" * 4001),
    b"[" * 50_000,
    # The texts contain lone surrogates, as raw bytes and as JSON escapes.
    b'{"client_message_id": "1", "text": "\xed\xa0\x80"}',
    b'{"client_message_id": "1", "text": "\\ud800"}',
    b'{"client_message_id": "1", "text": "\\udc00\\ud800"}',
    b'{"client_message_id": "", "text": "halo"}',
    b'{"client_message_id": "a\\u0000", "text": "halo"}',
    b'{"client_message_id": "%s", "text": "halo"}' % (b"x" * 101),
    b'{"client_message_id": "1", "text": "halo", "sender": "mitra"}',
)


async def test_a_malformed_message_is_refused(database: Database, client: AsyncClient, chat: Chat) -> None:
    for content in MALFORMED_MESSAGES:
        refused = await client.post(
            path(chat, chat.customer, "/messages"),
            content=content,
            headers=headers(chat.customer) | {"content-type": "application/json"},
        )
        assert problem(refused) == (422, "validation_failed"), content[:80]
    assert await database.fetchval("SELECT count(*) FROM messages") == 0


async def test_every_operation_on_the_session_of_another_person_answers_not_found(
    database: Database, make: Make, client: AsyncClient, chat: Chat
) -> None:
    other = await open_chat(database, make)
    message = (await send(client, chat, chat.customer, "1", "halo")).json()
    for stranger, end_body in ((other.customer, None), (other.mitra, {"reason": "x"})):
        signed_in = headers(stranger, str(uuid4()))
        answers = [
            await client.get(path(chat, stranger), headers=signed_in),
            await client.get(path(chat, stranger, "/messages"), headers=signed_in),
            await send(client, chat, stranger, "1", "halo"),
            await client.post(
                path(chat, stranger, "/read"), json={"up_to_message_id": message["id"]}, headers=signed_in
            ),
            await client.post(path(chat, stranger, "/end"), json=end_body, headers=signed_in),
        ]
        assert {problem(answer) for answer in answers} == {(404, "not_found")}
    assert await database.fetchval("SELECT count(*) FROM messages") == 1


async def test_an_unknown_cursor_is_refused(client: AsyncClient, chat: Chat) -> None:
    signed_in = headers(chat.customer)
    odd_before = await client.get(
        path(chat, chat.customer, "/messages"), params={"before": "x"}, headers=signed_in
    )
    odd_cursor = await client.get("/api/client/sessions", params={"cursor": "x"}, headers=signed_in)
    assert problem(odd_before) == problem(odd_cursor) == (422, "validation_failed")
    assert odd_cursor.json()["errors"] == [{"field": "cursor", "message": "is none of ours"}]
