"""Test the deletion of an account and its erasure (P.3), what the phone number keeps (P.4), and the list (P.5)."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import valkey.asyncio

from curhat.accounts import service as accounts
from curhat.app import invariants
from curhat.app.cli.main import main
from curhat.deadlines import loop as deadline_loop
from curhat.dev.embedded import EmbeddedServers
from curhat.kit import pause_points
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.kit.settings import Settings
from curhat.notifications.port import BrowserAddress
from curhat.notifications.service import subscribe
from curhat.privacy.erasure import queries
from curhat.privacy.erasure import service as erasure
from curhat.safety.blocks import service as blocks
from tests.support.chats import Chat
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.push import Browser
from tests.support.server import Person
from tests.support.signed_in import RunningServer, environment_of, problem, start_server

TEXT_COLUMNS = """
SELECT columns.table_schema || '.' || quote_ident(columns.table_name) AS name, quote_ident(column_name) AS column_name
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE columns.table_schema IN ('public', 'mock_gateway') AND table_type = 'BASE TABLE'
    AND data_type IN ('text', 'json', 'jsonb', 'character varying', 'ARRAY')
"""
HOURS_72 = 72 * 3600
DAYS_90 = 90 * 86_400


@pytest.fixture
def erasures_file(tmp_path: Path) -> Path:
    return tmp_path / "erasures.jsonl"


@pytest.fixture
async def server(
    servers: EmbeddedServers,
    database_url: str,
    database: Database,
    valkey_client: valkey.asyncio.Valkey,
    erasures_file: Path,
) -> AsyncIterator[RunningServer]:
    """Start a server whose list of erasures is a file of this test."""
    environment = environment_of(database_url, servers.valkey_url, CURHAT_ERASURE_LIST=str(erasures_file))
    async with start_server(Settings.from_environment(environment), database) as opened:
        yield opened


async def fresh_code(server: RunningServer, person: Person) -> str:
    """Ask for a code as at a sign-in, and return the value of the header X-Fresh-Code."""
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", person.id)
    asked = await person.post("/auth/otp/request", {"phone": phone})
    assert asked.status_code == 202, asked.text
    code = await server.database.fetchval(
        "SELECT code FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC LIMIT 1", phone
    )
    return f"{asked.json()['request_id']}:{code}"


async def delete_me(server: RunningServer, person: Person, code: str | None = None) -> Any:
    """Delete the person's account over HTTP, with a fresh code."""
    header = code or await fresh_code(server, person)
    side = "client" if person.role == "customer" else person.role
    return await server.http.delete(
        f"/api/{side}/me", headers={"Authorization": f"Bearer {person.token}", "X-Fresh-Code": header}
    )


async def run_worker(server: RunningServer) -> None:
    """Fire every due deadline, with the calls that follow."""
    while await deadline_loop.run_once(server.database, server.application.services.transitions):
        pass


async def occurrences(database: Database, needle: str) -> dict[str, int]:
    """Return the columns that hold the needle, in any table, each with the number of its rows."""
    found = {}
    for column in await database.fetch(TEXT_COLUMNS):
        count = await database.fetchval(
            f"SELECT count(*) FROM {column['name']} WHERE position($1 IN {column['column_name']}::text) > 0",
            needle,
        )
        if count:
            found[f"{column['name']}.{column['column_name']}"] = count
    return found


async def sums(database: Database) -> dict[str, int]:
    """Return the sums of money, and the number of rows that accounting keeps."""
    row = await database.fetchrow(
        """
        SELECT (SELECT sum(amount_rp) FROM payments) AS payments,
            (SELECT sum(amount_rp) FROM charge_attempts) AS charges,
            (SELECT coalesce(sum(amount_rp), 0) FROM refunds) AS refunds, (SELECT count(*) FROM sessions) AS sessions,
            (SELECT count(*) FROM pairings) AS pairings, (SELECT count(*) FROM requests) AS requests,
            (SELECT count(*) FROM review_cases) AS cases, (SELECT count(*) FROM status_changes) AS changes
        """
    )
    assert row is not None
    return dict(row)


async def broken_invariants(database: Database) -> set[str]:
    """Return the invariants that do not hold. A chat that a test inserts has no request, which breaks some."""
    async with database.transaction(snapshot=True) as tx:
        return {violation.invariant.name for violation in await invariants.check(tx)}


def needle() -> str:
    return "jarum" + "".join(secrets.choice("abcdefghij") for _ in range(16))


class Scene:
    """Two people who had a chat. Everything that one of them wrote holds the needle of this person."""

    def __init__(self, server: RunningServer, customer: Person, mitra: Person, chat: Chat) -> None:
        self.server = server
        self.database = server.database
        self.customer = customer
        self.mitra = mitra
        self.chat = chat
        self.path = f"/sessions/{chat.id}"


async def make_scene(
    server: RunningServer, customer_needle: str, mitra_needle: str, *, is_dual: bool = False
) -> Scene:
    """Make a chat that used every feature that stores text, and end it."""
    database = server.database
    mitra = await server.mitra(mitra_needle, max_customers=5)
    customer = await server.customer(customer_needle)
    if is_dual:
        await server.make.mitra("Kak Rangkap", person_id=customer.id, online=False)
    await database.execute(
        "INSERT INTO audit_entries (actor, action, subject, subject_id, new_value) "
        "VALUES ('command line', 'mitra_invited', 'mitra', $1::text, $2)",
        str(mitra.id),
        mitra_needle,
    )
    chat = await server.chat(customer.id, mitra.id)
    path = f"/sessions/{chat.id}"
    for person, text in ((customer, customer_needle), (mitra, mitra_needle)):
        sent = await person.post(
            f"{path}/messages", {"client_message_id": secrets.token_hex(4), "text": f"halo {text}"}
        )
        assert sent.status_code == 201, sent.text
        browser = Browser(f"https://push.example/{text}")
        digest = await database.fetchval("SELECT digest FROM access_tokens WHERE user_id = $1", person.id)
        async with database.transaction() as tx:
            identity = chat.customer if person is customer else chat.mitra
            address = BrowserAddress(endpoint=browser.endpoint, p256dh=browser.p256dh, auth=browser.auth)
            await subscribe(tx, identity, digest, address, "id")
            await tx.execute(
                "INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at) "
                "SELECT id, 'message', $2, 'topic', $3, curhat_now(), curhat_now() + interval '1 hour' "
                "FROM push_subscriptions WHERE user_id = $1",
                person.id,
                chat.id,
                json.dumps({"session_id": str(chat.id), "n": text}),
            )
    version = (await mitra.get(f"{path}/note")).json()["version"]
    note = await mitra.put(
        f"{path}/note", {"text": f"{mitra_needle} {customer_needle}", "expected_version": version}
    )
    assert note.status_code == 200, note.text
    await database.execute("INSERT INTO canned_answers VALUES ($1, 1, $2)", mitra.id, mitra_needle)
    renamed = await customer.patch("/me", {"call_name": customer_needle[:39]})
    assert renamed.status_code == 200
    for person, text in ((customer, customer_needle), (mitra, mitra_needle)):
        reported = await person.post(f"{path}/report", {"reason": "insult", "note": f"karena {text}"})
        assert reported.status_code == 201, reported.text
    ended = await mitra.post(f"{path}/end", {"reason": f"lelah {mitra_needle}"})
    assert ended.status_code in (200, 201), ended.text
    await database.execute(
        "INSERT INTO ratings (session_id, customer_id, mitra_id, session_ended_at, answer) "
        "VALUES ($1, $2, $3, curhat_now(), 'neutral')",
        chat.id,
        customer.id,
        mitra.id,
    )
    return Scene(server, customer, mitra, chat)


async def decide_reports(database: Database) -> None:
    """Decide every report. The text is held for 90 days more."""
    operator_id = await database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ('lia@example.id', 'admin', '') RETURNING id"
    )
    await database.execute(
        "UPDATE reports SET status = 'decided', decision = 'no_action', decision_note = 'tidak', decided_by = $1, "
        "decided_at = curhat_now(), closed_at = curhat_now()",
        operator_id,
    )


@pytest.mark.rule("P.3")
@pytest.mark.parametrize("who", ["customer", "mitra", "dual"])
async def test_after_an_erasure_no_column_of_any_table_holds_a_needle_of_the_person(
    server: RunningServer, clock: VirtualClock, who: str, erasures_file: Path
) -> None:
    """The name, the phone, the chat, notes, reports, push payloads and stored answers hold needles."""
    await clock.set()
    of_customer, of_mitra = needle(), needle()
    scene = await make_scene(server, of_customer, of_mitra, is_dual=who == "dual")
    person, planted = (scene.mitra, of_mitra) if who == "mitra" else (scene.customer, of_customer)
    database = server.database
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", person.id)
    before, broken_before = await sums(database), await broken_invariants(database)
    assert len(await occurrences(database, planted)) >= 8, await occurrences(database, planted)

    assert (await delete_me(server, person)).status_code == 204
    visible = await occurrences(database, planted)
    assert not {"public.customers.call_name", "public.mitras.display_name"} & visible.keys()
    assert not any("push" in column or "inbox" in column for column in visible), visible
    assert (await person.get("/me")).status_code == 401
    await run_worker(server)
    assert await occurrences(database, planted) != {}, "the other side can still report"

    await clock.advance(HOURS_72 + 60)
    await run_worker(server)
    held = await occurrences(database, planted)
    assert set(held) >= {"public.messages.text", "public.reports.note"}, "an open report holds the text"

    await decide_reports(database)
    await clock.advance(DAYS_90 + 7 * 3600)
    await run_worker(server)
    assert await occurrences(database, planted) == {}
    assert (await occurrences(database, phone) == {}) == (who != "dual")
    assert await database.fetchval("SELECT count(*) FROM ratings") == (1 if who == "mitra" else 0)
    assert await database.fetchval("SELECT erased_at IS NOT NULL FROM erasures") is True
    assert [json.loads(line)["user_id"] for line in erasures_file.read_text().splitlines()] == [
        str(person.id)
    ]
    assert await sums(database) == before
    assert await broken_invariants(database) <= broken_before


@pytest.mark.rule("P.3")
async def test_a_deletion_destroys_the_text_72_hours_after_the_last_session(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    await customer.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "halo"})
    await customer.post(f"/sessions/{chat.id}/end", {})
    await clock.advance(24 * 3600)
    customer = await server.person("customer", customer.id)
    mitra = await server.person("mitra", mitra.id)
    assert (await delete_me(server, customer)).status_code == 204
    page = (await mitra.get(f"/sessions/{chat.id}/messages")).json()
    assert (page["items"], page["text_gone"]) == ([], True)
    assert (await mitra.get(f"/sessions/{chat.id}")).json()["customer"]["call_name"] == "Akun dihapus"
    await clock.advance(48 * 3600 - 1)
    await run_worker(server)
    assert await server.database.fetchval("SELECT count(*) FROM messages") == 1
    await clock.advance(2)
    await run_worker(server)
    assert await server.database.fetchval("SELECT count(*) FROM messages") == 0


@pytest.mark.rule("P.3")
async def test_an_account_with_a_journey_or_a_session_is_not_deleted(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    payment_id = await server.pending_payment(customer.id)
    code = await fresh_code(server, customer)
    refused = await delete_me(server, customer, code)
    assert problem(refused) == (409, "journey_in_progress")
    assert refused.json()["payment_id"] == str(payment_id)
    await customer.post(f"/payments/{payment_id}/cancel", {})
    chat = await server.chat(customer.id, mitra.id)
    for person in (customer, mitra):
        refused = await delete_me(server, person, code if person is customer else None)
        assert problem(refused) == (409, "journey_in_progress")
        assert refused.json()["session_id"] == str(chat.id)
    await customer.post(f"/sessions/{chat.id}/end", {})
    # The refusals have not used up the code.
    assert (await delete_me(server, customer, code)).status_code == 204


@pytest.mark.rule("P.3")
async def test_a_deletion_needs_a_fresh_code(server: RunningServer) -> None:
    customer = await server.customer()
    code = await fresh_code(server, customer)
    without = await customer.delete("/me")
    assert problem(without) == (401, "fresh_code_missing")
    wrong = f"{code[:-1]}{(int(code[-1]) + 1) % 10}"
    assert problem(await delete_me(server, customer, wrong)) == (401, "code_invalid")
    assert await server.database.fetchval("SELECT wrong_tries FROM one_time_codes") == 1
    assert (await delete_me(server, customer, code)).status_code == 204


@pytest.mark.rule("P.3")
async def test_a_deletion_signs_out_everywhere_and_closes_the_sockets(server: RunningServer) -> None:
    customer = await server.customer()
    other_phone = await server.person("customer", customer.id)
    async with other_phone.socket() as socket:
        assert (await delete_me(server, customer)).status_code == 204
        await socket.connection.wait_closed()
        assert socket.connection.close_code == 4401
    for person in (customer, other_phone):
        assert (await person.get("/me")).status_code == 401


async def sign_up(server: RunningServer, phone: str, call_name: str = "Bunga", role: str = "client") -> Any:
    """Sign in with a code to this number, and return the answer."""
    asked = await server.http.post(f"/api/{role}/auth/otp/request", json={"phone": phone})
    assert asked.status_code == 202, asked.text
    code = await server.database.fetchval(
        "SELECT code FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC LIMIT 1", phone
    )
    body = {"request_id": asked.json()["request_id"], "code": code}
    return await server.http.post(
        f"/api/{role}/auth/otp/verify",
        json={**body, "call_name": call_name} if role == "client" else body,
    )


@pytest.mark.rule("P.3", "P.4")
async def test_the_same_phone_coming_back_is_a_new_account_that_inherits_the_trial_and_blocks(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, mitra = await server.customer(), await server.mitra(max_customers=5)
    database = server.database
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    chat = await server.chat(customer.id, mitra.id)
    await database.execute("UPDATE sessions SET is_trial = true WHERE id = $1", chat.id)
    await customer.post(f"/sessions/{chat.id}/end", {})
    await database.execute(
        "INSERT INTO blocks (customer_id, mitra_id, blocked_by, session_id) VALUES ($1, $2, 'mitra', $3)",
        customer.id,
        mitra.id,
        chat.id,
    )
    assert (await delete_me(server, customer)).status_code == 204
    assert await database.fetchval("SELECT count(*) FROM erased_phones") == 1
    new_id = UUID((await sign_up(server, phone)).json()["customer"]["id"])
    assert new_id != customer.id
    new = await server.person("customer", new_id)
    assert (await new.get("/me")).json()["trial_available"] is False
    assert (await new.get("/sessions")).json()["items"] == []
    assert await database.fetchval("SELECT mitra_id FROM blocks WHERE customer_id = $1", new_id) == mitra.id
    # The mitra's list shows only the block of the session that the mitra knows.
    async with database.transaction() as tx:
        shown = await blocks.blocks_of(tx, chat.mitra)
    assert [block.session_id for block in shown.items] == [chat.id]


@pytest.mark.rule("P.4")
async def test_a_suspension_outlives_a_deletion_and_ends_in_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    now = await clock.advance(0)
    customer = await server.customer()
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    await server.database.execute(
        "UPDATE customers SET suspended_at = curhat_now(), suspended_until = $2 WHERE id = $1",
        customer.id,
        now + timedelta(days=30),
    )
    assert (await delete_me(server, customer)).status_code == 204
    new_id = UUID((await sign_up(server, phone)).json()["customer"]["id"])
    until = await server.database.fetchval("SELECT suspended_until FROM customers WHERE id = $1", new_id)
    assert until == now + timedelta(days=30)


@pytest.mark.rule("P.4")
async def test_what_a_phone_keeps_is_forgotten_after_twelve_months(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer = await server.customer()
    await server.database.execute("UPDATE customers SET trial_used_before = true WHERE id = $1", customer.id)
    assert (await delete_me(server, customer)).status_code == 204
    for days, kept in ((364, 1), (2, 0)):
        await clock.advance(days * 86_400)
        async with server.database.transaction() as tx:
            await accounts.prune(tx)
        assert await server.database.fetchval("SELECT count(*) FROM erased_phones") == kept


@pytest.mark.rule("P.3")
async def test_only_the_deleted_role_of_a_phone_with_two_roles_goes(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    database = server.database
    customer = await server.customer("Melati")
    await server.make.mitra("Kak Rangkap", person_id=customer.id, online=True)
    mitra = await server.person("mitra", customer.id)
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    assert (await delete_me(server, customer)).status_code == 204
    assert (await mitra.get("/me")).json()["display_name"] == "Kak Rangkap"
    await clock.advance(HOURS_72)
    await run_worker(server)
    mitra = await server.person("mitra", mitra.id)
    assert (await mitra.get("/me")).status_code == 200
    signed_in = await sign_up(server, phone, role="mitra")
    assert signed_in.json()["mitra"]["id"] == str(customer.id)

    new_id = UUID((await sign_up(server, phone, "Melati Baru")).json()["customer"]["id"])
    assert new_id != customer.id
    # The two accounts of one number are never paired (2b.8).
    assert (
        await database.fetchval("SELECT mitra_id FROM blocks WHERE customer_id = $1", new_id) == customer.id
    )
    new = await server.person("customer", new_id)
    assert (await delete_me(server, new)).status_code == 204
    assert (await mitra.get("/me")).status_code == 200
    assert (await delete_me(server, mitra)).status_code == 204
    assert await occurrences(database, phone) == {}
    assert problem(await sign_up(server, phone, role="mitra")) == (403, "not_invited")
    assert await broken_invariants(database) == set()


@pytest.mark.rule("P.3")
async def test_a_deleted_mitra_is_never_asked_again(server: RunningServer) -> None:
    mitra = await server.mitra()
    customer = await server.customer()
    request_id = await server.request(customer.id, mitra.id)
    assert (await delete_me(server, mitra)).status_code == 204
    status = await server.database.fetchval("SELECT status FROM requests WHERE id = $1", request_id)
    assert status == "closed"
    state = await server.database.fetchrow(
        "SELECT online, can_take_customer, display_name FROM mitras WHERE id = $1", mitra.id
    )
    assert tuple(state or ()) == (False, False, "Akun dihapus")
    assert await server.database.fetchval("SELECT count(*) FROM push_subscriptions") == 0


class Killed(BaseException):
    """Stands for the end of the process at a pause point."""


@pytest.mark.rule("P.3")
async def test_an_erasure_goes_on_after_a_crash_between_any_two_rooms(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    database = server.database
    planted = needle()
    scene = await make_scene(server, planted, needle())
    await decide_reports(database)
    assert (await delete_me(server, scene.customer)).status_code == 204
    await clock.advance(DAYS_90 + HOURS_72)

    async def die() -> None:
        raise Killed

    async with database.transaction() as tx:
        row = await tx.fetchrow("SELECT id FROM erasures")
        assert row is not None
        locked = await queries.lock_erasure(tx, id=row["id"])
    assert locked is not None
    for room in erasure.ROOMS:
        # The next try begins with the first room again, and dies one room later.
        set_pause_point(f"erasure.after_{room}", die)
        with pytest.raises(Killed):
            await erasure.erase_rooms(database, locked)
        pause_points._handlers.clear()
        assert await database.fetchval("SELECT erased_at FROM erasures") is None
    await run_worker(server)
    await clock.advance(2 * erasure.RETRY_SECONDS)
    await run_worker(server)
    assert await occurrences(database, planted) == {}
    assert await database.fetchval("SELECT erased_at IS NOT NULL FROM erasures") is True


@pytest.mark.rule("P.5")
async def test_a_restored_database_gets_the_erasures_of_the_list_again(
    server: RunningServer, clock: VirtualClock, make: Make, erasures_file: Path
) -> None:
    """The list has an erasure that the database does not know, as after a restore to an earlier time."""
    await clock.set()
    planted = needle()
    scene = await make_scene(server, planted, needle())
    await decide_reports(server.database)
    await clock.advance(DAYS_90 + HOURS_72)
    settings = server.application.services.settings
    line = {"role": "customer", "user_id": str(scene.customer.id), "deleted_at": "2026-01-02T00:00:00Z"}
    lost = {**line, "user_id": "01900000-0000-7000-8000-000000000000"}
    # A crash has cut the second line.
    erasures_file.write_text(json.dumps(line) + "\n" + json.dumps(line)[:20] + "\n" + json.dumps(lost) + "\n")
    for deleted in (1, 0):
        assert await erasure.replay(server.database, settings.secret_key, erasures_file) == (deleted, 2)
    assert await occurrences(server.database, planted) == {}
    tokens = "SELECT count(*) FROM access_tokens WHERE user_id = $1"
    assert await server.database.fetchval(tokens, scene.customer.id) == 0


@pytest.mark.rule("P.5")
async def test_an_erasure_is_finished_only_when_the_list_has_it(
    server: RunningServer, clock: VirtualClock, erasures_file: Path
) -> None:
    await clock.set()
    customer = await server.customer()
    erasures_file.mkdir()
    assert (await delete_me(server, customer)).status_code == 204
    await clock.advance(HOURS_72)
    await run_worker(server)
    assert await server.database.fetchval("SELECT erased_at FROM erasures") is None
    erasures_file.rmdir()
    for _ in range(2):
        await clock.advance(2 * erasure.RETRY_SECONDS)
        await run_worker(server)
    assert await server.database.fetchval("SELECT erased_at IS NOT NULL FROM erasures") is True


@pytest.mark.rule("P.5")
async def test_the_command_line_replays_the_list(
    database: Database,
    database_url: str,
    make: Make,
    erasures_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mitra = await make.mitra("Kak Sari")
    line = {"role": "mitra", "user_id": str(mitra), "deleted_at": "2026-01-02T00:00:00Z"}
    erasures_file.write_text(json.dumps(line) + "\n")
    environment = environment_of(
        database_url, "valkey://127.0.0.1:1/0", CURHAT_ERASURE_LIST=str(erasures_file)
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(main, ["erasures", "replay"]) == 0
    assert "1 erasures, 1 accounts were deleted again" in capsys.readouterr().out
    assert await database.fetchval("SELECT display_name FROM mitras") == "Akun dihapus"
    monkeypatch.setenv("CURHAT_ERASURE_LIST", str(erasures_file) + ".missing")
    assert await asyncio.to_thread(main, ["erasures", "replay"]) == 1
