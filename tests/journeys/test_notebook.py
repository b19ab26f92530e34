"""Test a mitra's canned answers and private notes."""

from typing import Any

import pytest
import structlog

from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

TEXTS = ["Halo, aku di sini untukmu.", "Pelan-pelan saja, ya."]


async def read_answers(mitra: Person) -> dict[str, Any]:
    answers: dict[str, Any] = (await mitra.get("/canned-answers")).json()
    return answers


async def write_answers(mitra: Person, texts: list[str], version: str | None = None) -> Any:
    expected = (await read_answers(mitra))["version"] if version is None else version
    return await mitra.put("/canned-answers", {"texts": texts, "expected_version": expected})


@pytest.mark.rule("M.2")
async def test_a_mitra_keeps_canned_answers_in_an_own_order(server: RunningServer) -> None:
    mitra, other = await server.mitra(), await server.mitra("Kak Budi")
    assert (await read_answers(mitra))["texts"] == []
    answer = await write_answers(mitra, [*TEXTS, "  Terima kasih sudah cerita. "])
    assert (answer.status_code, answer.json()["texts"]) == (200, [*TEXTS, "Terima kasih sudah cerita."])
    assert (await write_answers(mitra, TEXTS[::-1])).json()["texts"] == TEXTS[::-1]
    assert (await read_answers(mitra))["texts"] == TEXTS[::-1]
    assert (await read_answers(other))["texts"] == []


@pytest.mark.rule("M.2")
async def test_a_mitra_keeps_at_most_30_canned_answers_of_500_characters(server: RunningServer) -> None:
    mitra = await server.mitra()
    full = [f"{number}".ljust(500, "a") for number in range(30)]
    assert (await write_answers(mitra, full)).status_code == 200
    for texts in ([*full, "one more"], ["a" * 501], ["  "], ["\u200b"], ["a\0b"], ["twice", " twice"]):
        assert problem(await write_answers(mitra, texts)) == (422, "validation_failed")
    assert (await read_answers(mitra))["texts"] == full


@pytest.mark.rule("M.2")
async def test_a_second_phone_does_not_overwrite_newer_canned_answers(server: RunningServer) -> None:
    mitra = await server.mitra()
    old = (await read_answers(mitra))["version"]
    assert (await write_answers(mitra, TEXTS, old)).status_code == 200
    # The answer was lost, so the phone sends the change again.
    assert (await write_answers(mitra, TEXTS, old)).status_code == 200
    refused = await write_answers(mitra, ["Halo"], old)
    assert problem(refused) == (409, "changed_meanwhile")
    assert refused.json()["texts"] == TEXTS
    assert (await write_answers(mitra, ["Halo"], refused.json()["version"])).status_code == 200


async def read_note(mitra: Person, session_id: object) -> dict[str, Any]:
    answer = await mitra.get(f"/sessions/{session_id}/note")
    assert answer.status_code == 200, answer.text
    note: dict[str, Any] = answer.json()
    return note


async def write_note(mitra: Person, session_id: object, text: str, version: str | None = None) -> Any:
    expected = (await read_note(mitra, session_id))["version"] if version is None else version
    return await mitra.put(f"/sessions/{session_id}/note", {"text": text, "expected_version": expected})


@pytest.mark.rule("M.2", "X.4")
async def test_all_sessions_of_one_customer_share_the_note_of_one_mitra(server: RunningServer) -> None:
    customer = await server.customer("Melati")
    mitra, other = await server.mitra(max_customers=2), await server.mitra("Kak Budi")
    first = await server.chat(customer.id, mitra.id)
    assert await read_note(mitra, first.id) | {"version": ""} == {
        "text": "",
        "updated_at": None,
        "version": "",
    }
    written = await write_note(mitra, first.id, "  Suka dipanggil Mel.\nPunya kucing.  ")
    assert (written.status_code, written.json()["text"]) == (200, "Suka dipanggil Mel.\nPunya kucing.")
    assert str(customer.id) not in written.text
    await customer.post(f"/sessions/{first.id}/end")
    again = await server.chat(customer.id, mitra.id)
    assert (await read_note(mitra, again.id))["text"] == "Suka dipanggil Mel.\nPunya kucing."
    await customer.post(f"/sessions/{again.id}/end")
    # Another mitra of the same customer has another note, and cannot read through the session of the first mitra.
    theirs = await server.chat(customer.id, other.id)
    assert (await read_note(other, theirs.id))["text"] == ""
    assert problem(await other.get(f"/sessions/{first.id}/note")) == (404, "not_found")
    refused = await other.put(f"/sessions/{first.id}/note", {"text": "x", "expected_version": ""})
    assert problem(refused) == (404, "not_found")


@pytest.mark.rule("M.2")
async def test_an_empty_text_deletes_the_note(server: RunningServer) -> None:
    mitra = await server.mitra()
    chat = await server.chat((await server.customer()).id, mitra.id)
    old = (await read_note(mitra, chat.id))["version"]
    assert (await write_note(mitra, chat.id, "a" * 2000)).status_code == 200
    assert problem(await write_note(mitra, chat.id, "a" * 2001)) == (422, "validation_failed")
    assert problem(await write_note(mitra, chat.id, "old phone", old)) == (409, "changed_meanwhile")
    assert problem(await write_note(mitra, chat.id, " \u200b ")) == (422, "validation_failed")
    assert (await write_note(mitra, chat.id, "")).json()["text"] == ""
    assert await server.database.fetchval("SELECT count(*) FROM customer_notes") == 0


@pytest.mark.rule("M.2")
async def test_the_note_is_in_no_other_table_and_no_log(server: RunningServer) -> None:
    secret = "hanya-untuk-mataku"
    mitra = await server.mitra()
    chat = await server.chat((await server.customer()).id, mitra.id)
    with structlog.testing.capture_logs() as logs:
        for text in (secret, f"{secret} lagi"):
            assert (await write_note(mitra, chat.id, text)).status_code == 200
        assert problem(await write_note(mitra, chat.id, f"{secret} lama", "old")) == (
            409,
            "changed_meanwhile",
        )
    assert secret not in str(logs)
    tables = await server.database.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    having = [
        table["name"]
        for table in tables
        if await server.database.fetchval(
            f"SELECT EXISTS (SELECT 1 FROM {table['name']} AS one WHERE one::text LIKE '%' || $1 || '%')",
            secret,
        )
    ]
    assert having == ["customer_notes"]


@pytest.mark.rule("M.2")
async def test_the_notes_about_a_customer_are_deleted_with_the_customer(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    await server.database.execute(
        "INSERT INTO customer_notes (customer_id, mitra_id, text) VALUES ($1, $2, 'x')", customer.id, mitra.id
    )
    await server.database.execute("DELETE FROM customers WHERE id = $1", customer.id)
    assert await server.database.fetchval("SELECT count(*) FROM customer_notes") == 0
