"""Test that a device loses its token and socket within 5 s after the owner or an operator signs the device out."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from curhat.realtime import protocol
from tests.support.server import Person, Socket
from tests.support.signed_in import RunningServer, problem

UNAUTHENTICATED = (401, "unauthenticated")


async def _until_closed(socket: Socket) -> int | None:
    await socket.connection.wait_closed()
    return socket.connection.close_code


async def _two_devices(server: RunningServer, role: str) -> tuple[Person, Person]:
    here = await (server.customer() if role == "customer" else server.mitra())
    return here, await server.person(here.role, here.id)  # type: ignore[arg-type]


async def _by_id(server: RunningServer, here: Person) -> httpx.Response:
    listed = await here.get("/devices")
    assert listed.status_code == 200
    current = {device["current"]: device for device in listed.json()["items"]}
    assert set(current[True]) == {"id", "current", "created_at", "last_seen_at", "user_agent"}
    return await here.delete(f"/devices/{current[False]['id']}")


async def _others(server: RunningServer, here: Person) -> httpx.Response:
    return await here.post("/devices/sign-out-others", key="")


@pytest.mark.rule("S.1")
@pytest.mark.parametrize("role", ["customer", "mitra"])
@pytest.mark.parametrize("sign_out", [_by_id, _others])
async def test_a_person_signs_another_device_out_and_stays_signed_in(
    server: RunningServer, role: str, sign_out: Callable[[RunningServer, Person], Awaitable[httpx.Response]]
) -> None:
    here, there = await _two_devices(server, role)
    async with here.socket() as stays, there.socket() as ends, asyncio.timeout(5):
        assert (await sign_out(server, here)).status_code == 204
        assert await _until_closed(ends) == protocol.SIGNED_OUT
        assert problem(await there.get("/me")) == UNAUTHENTICATED
        assert stays.connection.close_code is None
    devices = (await here.get("/devices")).json()["items"]
    assert [device["current"] for device in devices] == [True]


@pytest.mark.rule("S.1")
@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_an_operator_signs_a_person_out_everywhere_and_the_audit_records_the_action(
    server: RunningServer, role: str
) -> None:
    here, there = await _two_devices(server, role)
    stranger = await server.customer()
    reviewer = await server.operator("reviewer")
    path = f"/{role}s/{here.id}/devices"
    first, second = (await reviewer.get(path)).json()["items"]
    assert (first["current"], second["current"]) == (False, False)
    async with here.socket() as ends, asyncio.timeout(5):
        assert (await reviewer.delete(f"{path}/{first['id']}")).status_code == 204
        assert problem(await reviewer.delete(f"{path}/{first['id']}")) == (404, "not_found")
        assert (await reviewer.post(f"{path}/sign-out-others", key="")).status_code == 204
        assert await _until_closed(ends) == protocol.SIGNED_OUT
    for device in (here, there):
        assert problem(await device.get("/me")) == UNAUTHENTICATED
    assert problem(await stranger.get("/me")) == (200, None)
    audited = await server.database.fetch(
        "SELECT actor, action, subject, subject_id FROM audit_entries WHERE action LIKE 'person_%' ORDER BY id"
    )
    assert [tuple(entry) for entry in audited] == [
        (str(reviewer.id), action, role, str(here.id))
        for action in ("person_device_signed_out", "person_devices_signed_out")
    ]


async def test_an_operator_finds_no_devices_of_a_person_without_an_account_in_this_role(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    admin = await server.operator()
    assert problem(await admin.get(f"/mitras/{customer.id}/devices")) == (404, "not_found")
    refused = await admin.post(f"/mitras/{customer.id}/devices/sign-out-others", key="")
    assert problem(refused) == (404, "not_found")
    assert problem(await customer.get("/me")) == (200, None)
