"""Test accepts over HTTP: concurrent mitras, repeated accepts, and reused idempotency keys (2b.5)."""

import asyncio
from uuid import UUID

import pytest

from curhat.kit.pause_points import set_pause_point
from tests.support.journey import Latch, request_of
from tests.support.server import Person
from tests.support.signed_in import RunningServer

MITRAS = 12


async def asked(server: RunningServer, count: int) -> list[tuple[Person, UUID]]:
    """Start a search that asks `count` mitras. Returns each mitra with the id of the mitra's request."""
    customer = await server.customer("Melati")
    mitras = [await server.mitra() for _ in range(count)]
    pairing_id = await server.search(customer.id, [mitra.id for mitra in mitras])
    return [(mitra, await request_of(server.database, pairing_id, mitra.id)) for mitra in mitras]


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1)
async def test_only_one_of_many_concurrent_accepts_wins_and_each_answer_is_stored_under_its_key(
    server: RunningServer,
) -> None:
    mitras = await asked(server, MITRAS)

    async def all_accept() -> list[tuple[int, dict[str, object]]]:
        answers = await asyncio.gather(
            *(
                mitra.post(f"/requests/{request_id}/accept", key=f"key-{mitra.id}")
                for mitra, request_id in mitras
            )
        )
        return [(answer.status_code, answer.json()) for answer in answers]

    first = await all_accept()
    assert sorted(status for status, _ in first) == [200] + [409] * (MITRAS - 1)
    assert {body["code"] for status, body in first if status == 409} == {"already_taken"}
    assert await all_accept() == first
    assert await server.database.fetchval("SELECT count(*) FROM sessions") == 1
    assert await server.database.fetchval("SELECT count(*) FROM idempotency_keys") == MITRAS


@pytest.mark.rule("2b.5")
async def test_the_key_of_an_accept_is_refused_for_another_request(server: RunningServer) -> None:
    """The later race has a winner and a loser. The server refuses the used keys of both mitras."""
    (mitra, request_id), (loser, lost_id) = await asked(server, 2)
    for person in (mitra, loser):
        await person.post(f"/requests/{person.id}/accept", key="used")
    for _ in range(2):
        reused = await mitra.post(f"/requests/{request_id}/accept", key="used")
        assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")
    assert await server.database.fetchval("SELECT count(*) FROM sessions") == 0
    assert (await mitra.post(f"/requests/{request_id}/accept")).status_code == 200
    too_late = await loser.post(f"/requests/{lost_id}/accept", key="used")
    assert too_late.json()["code"] == "idempotency_key_reused"


@pytest.mark.rule("2b.5")
async def test_a_repeated_accept_is_refused_while_the_first_accept_runs(server: RunningServer) -> None:
    """While the first accept runs, the accepts of other mitras wait."""
    (mitra, request_id), (other, other_id) = await asked(server, 2)
    latch = Latch()
    set_pause_point("accept.before_commit", latch)
    winning = asyncio.create_task(mitra.post(f"/requests/{request_id}/accept", key="once"))
    await latch.reached.wait()
    twice = await mitra.post(f"/requests/{request_id}/accept", key="once")
    assert (twice.status_code, twice.json()["code"]) == (409, "idempotency_in_progress")
    losing = asyncio.create_task(other.post(f"/requests/{other_id}/accept"))
    latch.open()
    won = await winning
    assert won.status_code == 200
    assert (await losing).json()["code"] == "already_taken"
    again = await mitra.post(f"/requests/{request_id}/accept", key="once")
    assert again.json() == won.json()
    under_another_key = await mitra.post(f"/requests/{request_id}/accept")
    assert under_another_key.json()["session"]["id"] == won.json()["session"]["id"]


@pytest.mark.rule("2b.5", "2b.6")
async def test_the_next_mitra_gets_the_customer_when_the_first_mitra_cannot_accept(
    server: RunningServer,
) -> None:
    (full, full_id), (next_one, next_id) = await asked(server, 2)
    await server.database.execute("UPDATE mitras SET online = false WHERE id = $1", full.id)
    answers = await asyncio.gather(
        full.post(f"/requests/{full_id}/accept"), next_one.post(f"/requests/{next_id}/accept")
    )
    assert answers[0].status_code == 409
    assert answers[0].json()["code"] in ("mitra_offline", "already_taken")
    assert answers[1].status_code == 200
