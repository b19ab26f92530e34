"""Test how admins propose and publish help lines, and what everybody then reads (H.1)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest

from curhat.app.production_checks import check_help_lines
from curhat.content.help_lines import queries, service
from curhat.content.help_lines.service import shipped_items
from curhat.kit.pause_points import set_pause_point
from tests.support.journey import Latch, wait_for_lock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

LISTS = "/api/control-center/help-lines"
PUBLIC = "/api/content/help-lines"


def _as(admin: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {admin.token}", "Idempotency-Key": uuid4().hex}


def _items(**of_first_line: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = msgspec.to_builtins(shipped_items())
    items[1] |= of_first_line
    return items


async def _propose(server: RunningServer, admin: Person, items: list[dict[str, Any]]) -> httpx.Response:
    return await server.http.post(LISTS, json={"items": items}, headers=_as(admin))


async def _approve(server: RunningServer, admin: Person, version: int) -> httpx.Response:
    return await server.http.post(f"{LISTS}/{version}/approval", headers=_as(admin))


async def _proposed(server: RunningServer, admin: Person, **of_first_line: Any) -> int:
    answer = await _propose(server, admin, _items(**of_first_line))
    assert answer.status_code == 201, answer.text
    version: int = answer.json()["version"]
    return version


async def _publish_shipped(server: RunningServer) -> None:
    async with server.database.transaction() as tx:
        await service.publish_shipped(tx)


@pytest.mark.rule("H.1")
async def test_a_list_is_public_only_after_a_second_admin_has_published_it(server: RunningServer) -> None:
    first, second = await server.operator(), await server.operator()
    assert problem(await server.http.get(PUBLIC)) == (404, "not_found")
    version = await _proposed(server, first, name="112 (baru)")
    assert problem(await server.http.get(PUBLIC)) == (404, "not_found")
    assert problem(await _approve(server, first, version)) == (403, "own_proposal")

    published = await _approve(server, second, version)
    assert published.status_code == 200, published.text
    answer = await server.http.get(PUBLIC)
    assert answer.json() == {
        "version": version,
        "published_at": published.json()["published_at"],
        "items": _items(name="112 (baru)"),
    }
    assert (await _approve(server, second, version)).json() == published.json()
    assert problem(await _approve(server, await server.operator(), version)) == (409, "already_published")
    actions = await server.database.fetch("SELECT action, actor, subject_id FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in actions] == [
        ("help_lines_proposed", str(first.id), str(version)),
        ("help_lines_published", str(second.id), str(version)),
    ]


@pytest.mark.rule("H.1")
async def test_only_the_newest_proposal_can_be_published(server: RunningServer) -> None:
    first, second = await server.operator(), await server.operator()
    old, new = await _proposed(server, first), await _proposed(server, second, name="112 (baru)")
    refused = await _approve(server, second, old)
    assert problem(refused) == (409, "newer_proposal")
    assert refused.json()["newest"] == new
    assert (await _approve(server, first, new)).status_code == 200
    assert problem(await _approve(server, first, 2_000_000_000)) == (404, "not_found")


@pytest.mark.rule("H.1")
async def test_a_proposal_that_arrives_during_an_approval_waits_for_it(server: RunningServer) -> None:
    """T1 approves and holds the lock. T2 proposes, and waits. Both succeed, and T2's version has a higher number."""
    first, second = await server.operator(), await server.operator()
    version = await _proposed(server, first)
    latch = Latch()
    set_pause_point("help_lines.locked", latch)
    steps = [asyncio.create_task(_approve(server, second, version))]
    try:
        await latch.reached.wait()
        steps.append(asyncio.create_task(_propose(server, first, _items(name="112 (baru)"))))
        async with asyncio.timeout(10):
            await wait_for_lock(server.database)
    finally:
        set_pause_point("help_lines.locked", None)
        latch.open()
    approved, proposed = await asyncio.gather(*steps)
    assert (approved.status_code, proposed.status_code) == (200, 201)
    assert (await server.http.get(PUBLIC)).json()["version"] == version


@pytest.mark.rule("H.1")
async def test_a_client_with_the_current_version_gets_no_list_again(server: RunningServer) -> None:
    await _publish_shipped(server)
    first = await server.http.get(PUBLIC)
    assert first.headers["cache-control"] == "public, max-age=300"
    etag = first.headers["etag"]
    for written in (etag, f'"other", W/{etag}', "*"):
        again = await server.http.get(PUBLIC, headers={"If-None-Match": written})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    admin = await server.operator()
    await _approve(server, await server.operator(), await _proposed(server, admin, name="112 (baru)"))
    newer = await server.http.get(PUBLIC, headers={"If-None-Match": etag})
    assert (newer.status_code, newer.headers["etag"] != etag) == (200, True)


@pytest.mark.rule("H.1")
async def test_the_database_refuses_a_list_that_is_no_net_and_a_change_of_a_version(
    server: RunningServer,
) -> None:
    admin, database = await server.operator(), server.database
    insert = "INSERT INTO help_line_versions (items, proposed_by) VALUES ($1, $2)"
    step, *lines = _items()
    one_provider = [line | {"provider": "One"} for line in lines]
    for items in ([step, *lines[:2]], lines, [step, *one_provider], [step, *lines, lines[0]]):
        with pytest.raises(asyncpg.CheckViolationError, match="are_publishable"):
            await database.execute(insert, msgspec.json.encode(items).decode(), admin.id)
    version = await _proposed(server, admin)
    with pytest.raises(asyncpg.CheckViolationError, match="need_two_admins"):
        await database.execute(
            "UPDATE help_line_versions SET published_by = proposed_by, published_at = curhat_now()"
        )
    with pytest.raises(asyncpg.CheckViolationError, match="by_somebody"):
        await database.execute("UPDATE help_line_versions SET published_at = curhat_now()")
    assert (await _approve(server, await server.operator(), version)).status_code == 200
    for change in (
        "UPDATE help_line_versions SET items = items",
        "UPDATE help_line_versions SET published_at = NULL, published_by = NULL",
        "DELETE FROM help_line_versions",
        "TRUNCATE help_line_versions",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await database.execute(change)


@pytest.mark.rule("H.1")
async def test_operators_see_the_current_list_the_proposal_and_the_lines_that_nobody_verified(
    server: RunningServer,
) -> None:
    await _publish_shipped(server)
    admin = await server.operator()
    now = datetime.now(UTC)
    verified, long_ago = now - timedelta(days=1), now - timedelta(days=31)
    items = _items(verified_at=verified.isoformat())
    items[2]["verified_at"] = long_ago.isoformat()
    proposal = (await _propose(server, admin, items)).json()
    assert proposal["proposed_by"]["id"] == str(admin.id)
    viewer = await server.operator("viewer")
    seen = (await server.http.get(LISTS, headers={"Authorization": f"Bearer {viewer.token}"})).json()
    assert seen["current"]["proposed_by"] is None
    assert seen["current"]["unverified"] == ["112", "119-8", "sapa-129", "jakcare"]
    assert seen["proposed"] == proposal
    assert proposal["unverified"] == ["119-8", "sapa-129", "jakcare"]
    assert seen["history"] == [seen["proposed"], seen["current"]]
    dashboard = await server.http.get(
        "/api/control-center/dashboard", headers={"Authorization": f"Bearer {viewer.token}"}
    )
    assert dashboard.json()["help_lines_unverified"] == 4


@pytest.mark.rule("H.1")
async def test_a_seed_never_replaces_what_operators_made(server: RunningServer) -> None:
    await _publish_shipped(server)
    await _publish_shipped(server)
    assert await server.database.fetchval("SELECT count(*) FROM help_line_versions") == 1
    admin = await server.operator()
    version = await _proposed(server, admin, name="112 (baru)")
    await _publish_shipped(server)
    await _approve(server, await server.operator(), version)
    await _publish_shipped(server)
    assert (await server.http.get(PUBLIC)).json()["version"] == version
    assert await server.database.fetchval("SELECT count(*) FROM help_line_versions") == 2


@pytest.mark.rule("H.1")
async def test_doctor_says_whether_the_lists_are_missing_a_draft_or_not_verified(
    server: RunningServer,
) -> None:
    async def state() -> tuple[str, str]:
        async with server.database.transaction() as tx:
            finding = await check_help_lines(tx.connection)
        return finding.state, finding.sentence

    assert await state() == ("FAIL", "none are published; run curhat seed")
    await _publish_shipped(server)
    assert (await state())[0] == "warn"
    assert "nobody has called its 4 lines" in (await state())[1]
    admin, other = await server.operator(), await server.operator()
    items = [item | {"verified_at": datetime.now(UTC).isoformat()} for item in _items()]
    items[1]["verified_at"] = None
    await _approve(server, other, (await _propose(server, admin, items)).json()["version"])
    assert "nobody has verified 1 of them" in (await state())[1]
    items[1]["verified_at"] = items[2]["verified_at"]
    await _approve(server, other, (await _propose(server, admin, items)).json()["version"])
    assert (await state())[0] == "ok"
    assert await queries.count_unverified(server.database, max_days=30) == 0
