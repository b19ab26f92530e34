"""Test how admins invite, change, reset, sign out and deactivate operators."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from curhat.kit.pause_points import set_pause_point
from tests.support.journey import Latch, wait_for_lock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

OPERATORS = "/api/control-center/operators"
LINKS = "/api/control-center/auth/links"
PASSWORD = "teapot lighthouse nine"


def _as(admin: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {admin.token}", "Idempotency-Key": uuid4().hex}


async def _invite(server: RunningServer, admin: Person, role: str = "viewer") -> dict[str, Any]:
    body = {"email": "tari@example.id", "role": role}
    answer = await server.http.post(OPERATORS, json=body, headers=_as(admin))
    assert answer.status_code == 201, answer.text
    link: dict[str, Any] = answer.json()
    return link


async def _change(server: RunningServer, admin: Person, other: Person, **body: Any) -> httpx.Response:
    return await server.http.patch(f"{OPERATORS}/{other.id}", json=body, headers=_as(admin))


async def _overlap(
    server: RunningServer, one: Coroutine[Any, Any, httpx.Response], two: Coroutine[Any, Any, httpx.Response]
) -> list[httpx.Response]:
    """Begin the second change while the first holds the lock of the admins. Fail if the second does not wait."""
    latch = Latch()
    set_pause_point("team.locked", latch)
    changes = [asyncio.create_task(one)]
    try:
        await latch.reached.wait()
        changes.append(asyncio.create_task(two))
        async with asyncio.timeout(10):
            await wait_for_lock(server.database)
    finally:
        set_pause_point("team.locked", None)
        latch.open()
    return list(await asyncio.gather(*changes))


async def _actions(server: RunningServer, actor: Person) -> list[str]:
    rows = await server.database.fetch(
        "SELECT action FROM audit_entries WHERE actor = $1 ORDER BY id", str(actor.id)
    )
    return [row["action"] for row in rows]


@pytest.mark.rule("S.5")
async def test_an_invited_operator_signs_in_with_the_password_that_the_link_lets_them_choose(
    server: RunningServer,
) -> None:
    admin = await server.operator()
    link = await _invite(server, admin)
    assert link["operator"]["state"] == "awaiting_link"
    assert link["path"] == f"/control-center/welcome#{link['secret']}"

    used = await server.http.post(LINKS, json={"secret": link["secret"], "password": PASSWORD})
    assert used.json() == {"email": "tari@example.id"}
    signed_in = await server.http.post(
        "/api/control-center/auth/login", json={"email": "tari@example.id", "password": PASSWORD}
    )
    assert signed_in.json()["operator"]["role"] == "viewer"
    assert signed_in.json()["must_change_password"] is False
    again = await server.http.post(LINKS, json={"secret": link["secret"], "password": PASSWORD})
    assert problem(again) == (409, "link_invalid")
    assert await _actions(server, admin) == ["operator_invited"]


@pytest.mark.rule("S.5")
async def test_no_table_contains_the_secret_of_a_link_and_a_repeated_invitation_answers_the_same_link(
    server: RunningServer,
) -> None:
    admin = await server.operator()
    headers = _as(admin)
    body = {"email": "tari@example.id", "role": "viewer"}
    first = await server.http.post(OPERATORS, json=body, headers=headers)
    repeated = await server.http.post(OPERATORS, json=body, headers=headers)
    assert repeated.json() == first.json()

    secret = first.json()["secret"]
    stored = await server.database.fetchval(
        "SELECT string_agg(idempotency_keys::text, '') FROM idempotency_keys"
    )
    stored += await server.database.fetchval("SELECT operator_links::text FROM operator_links")
    assert secret[32:] not in stored


@pytest.mark.rule("S.5")
async def test_an_expired_a_replaced_and_an_invented_link_are_refused_alike(server: RunningServer) -> None:
    admin = await server.operator()
    first = await _invite(server, admin)
    reset = await server.http.post(f"{OPERATORS}/{first['operator']['id']}/reset", headers=_as(admin))
    second = reset.json()
    await server.database.execute("UPDATE operator_links SET expires_at = curhat_now() - interval '1 second'")
    invented = uuid4().hex + "0" * 64
    for secret in (first["secret"], second["secret"], invented, "x"):
        answer = await server.http.post(LINKS, json={"secret": secret, "password": PASSWORD})
        assert problem(answer) == (409, "link_invalid"), secret


@pytest.mark.rule("S.5")
async def test_a_reset_signs_the_operator_out_and_takes_the_password_and_the_authenticator_app(
    server: RunningServer,
) -> None:
    admin = await server.operator()
    other, _ = await server.operator_with_app()
    reset = await server.http.post(f"{OPERATORS}/{other.id}/reset", headers=_as(admin))
    assert reset.status_code == 201
    assert reset.json()["operator"]["state"] == "awaiting_link"
    assert reset.json()["operator"]["totp_enrolled"] is False
    me = await server.http.get(
        "/api/control-center/auth/me", headers={"Authorization": f"Bearer {other.token}"}
    )
    assert problem(me) == (401, "unauthenticated")
    await server.http.post(LINKS, json={"secret": reset.json()["secret"], "password": PASSWORD})
    email = reset.json()["operator"]["email"]
    signed_in = await server.http.post(
        "/api/control-center/auth/login", json={"email": email, "password": PASSWORD}
    )
    assert signed_in.status_code == 200
    assert signed_in.json()["totp_enrolled"] is False


@pytest.mark.rule("S.5")
async def test_a_role_a_deactivation_and_a_sign_out_take_effect_at_once_and_are_in_the_audit(
    server: RunningServer,
) -> None:
    admin, other = await server.operator(), await server.operator("viewer")
    other_sees = {"Authorization": f"Bearer {other.token}"}

    assert (await _change(server, admin, other, role="admin")).json()["role"] == "admin"
    assert (await server.http.get(OPERATORS, headers=other_sees)).status_code == 200
    await server.http.post(f"{OPERATORS}/{other.id}/sign-out", headers=_as(admin))
    assert (await server.http.get(OPERATORS, headers=other_sees)).status_code == 401
    off = await _change(server, admin, other, active=False)
    assert off.json()["state"] == "deactivated"
    refused = await server.http.post(f"{OPERATORS}/{other.id}/reset", headers=_as(admin))
    assert problem(refused) == (409, "operator_disabled")
    assert (await _change(server, admin, other, active=True)).json()["state"] == "active"

    assert await _actions(server, admin) == [
        "operator_role_changed",
        "operator_signed_out",
        "operator_disabled",
        "operator_enabled",
    ]


@pytest.mark.rule("S.5")
async def test_an_admin_whose_access_is_taken_changes_nobody_meanwhile(
    server: RunningServer,
) -> None:
    """T1 demotes an admin and has not committed yet. The admin's own change waits for T1's lock, and is refused."""
    one, two, other = await server.operator(), await server.operator(), await server.operator("viewer")
    first, second = await _overlap(
        server, _change(server, one, two, role="viewer"), _change(server, two, other, role="admin")
    )
    assert first.status_code == 200
    assert problem(second) == (403, "forbidden")
    assert await server.database.fetchval("SELECT role FROM operators WHERE id = $1", other.id) == "viewer"


@pytest.mark.rule("S.5")
async def test_nobody_changes_or_resets_the_own_account(server: RunningServer) -> None:
    admin = await server.operator()
    await server.operator()
    assert problem(await _change(server, admin, admin, role="viewer")) == (409, "own_account")
    assert problem(await _change(server, admin, admin, active=False)) == (409, "own_account")
    reset = await server.http.post(f"{OPERATORS}/{admin.id}/reset", headers=_as(admin))
    assert problem(reset) == (409, "own_account")


@pytest.mark.rule("S.5")
async def test_of_two_admins_who_demote_each_other_one_stays_an_admin(server: RunningServer) -> None:
    """T1 has locked and has not committed yet. T2 waits for T1's lock, and is no admin any more."""
    one, two = await server.operator(), await server.operator()
    first, second = await _overlap(
        server, _change(server, one, two, role="viewer"), _change(server, two, one, role="viewer")
    )
    assert first.status_code == 200
    assert problem(second) == (403, "forbidden")
    assert await server.database.fetchval("SELECT count(*) FROM operators WHERE role = 'admin'") == 1


@pytest.mark.rule("S.5")
async def test_the_database_forbids_two_transactions_that_remove_the_last_two_admins(
    server: RunningServer,
) -> None:
    one, two = await server.operator(), await server.operator()
    async with server.database.transaction() as first:
        await first.execute("UPDATE operators SET role = 'viewer' WHERE id = $1", one.id)

        async def remove_second() -> None:
            async with server.database.transaction() as second:
                await second.execute("UPDATE operators SET disabled_at = curhat_now() WHERE id = $1", two.id)

        removal = asyncio.create_task(remove_second())
        await wait_for_lock(server.database)
    with pytest.raises(asyncpg.CheckViolationError, match="last active admin"):
        await removal


@pytest.mark.rule("S.5")
async def test_an_admin_who_still_awaits_a_link_does_not_count_as_active(server: RunningServer) -> None:
    admin = await server.operator()
    await _invite(server, admin, "admin")
    with pytest.raises(asyncpg.CheckViolationError, match="last active admin"):
        await server.database.execute("UPDATE operators SET awaits_link = true WHERE id = $1", admin.id)


@pytest.mark.rule("S.5")
async def test_the_reason_of_a_suspension_is_in_the_audit_and_on_the_mitras_page(
    server: RunningServer,
) -> None:
    admin, mitra = await server.operator(), await server.mitra()
    path = f"/api/control-center/mitras/{mitra.id}"
    stray = await server.http.patch(path, json={"max_customers": 2, "reason": "why"}, headers=_as(admin))
    assert problem(stray)[0] == 422

    body = {"suspended": True, "reason": "Rude to a customer: twice"}
    assert (await server.http.patch(path, json=body, headers=_as(admin))).status_code == 200
    shown = await server.http.get(path, headers=_as(admin))
    assert shown.json()["suspension_reason"] == "Rude to a customer: twice"
    noted = await server.database.fetchval(
        "SELECT new_value FROM audit_entries WHERE action = 'mitra_suspended'"
    )
    assert noted == "suspended: Rude to a customer: twice"

    await server.http.patch(path, json={"suspended": False}, headers=_as(admin))
    old_body = await server.http.patch(path, json={"suspended": True}, headers=_as(admin))
    assert old_body.status_code == 200
    shown = await server.http.get(path, headers=_as(admin))
    assert shown.json()["suspension_reason"] is None
