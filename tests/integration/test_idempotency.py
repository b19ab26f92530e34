"""Test idempotency keys: a repeated request has one effect and one answer."""

import asyncio
from uuid import UUID, uuid4

import pytest

from curhat.kit import idempotency
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import (
    BusinessError,
    IdempotencyInProgress,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    NotFound,
)
from curhat.kit.idempotency import (
    Answer,
    IdempotentRequest,
    begin_long,
    finish_long,
    idempotent_request,
    run_idempotent,
)
from curhat.kit.identity import Identity
from tests.support.clock import VirtualClock
from tests.support.journey import Latch

ME = Identity(role="customer", user_id=UUID(int=1))


def request_of(
    key: str = "key-1", *, who: Identity = ME, path: str = "/payments", body: bytes = b"{}"
) -> IdempotentRequest:
    return idempotent_request(who, key, "POST", path, body)


class Effect:
    """A step that inserts an audit entry, so that a test can count the effects of the step."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.latch: Latch | None = None

    async def __call__(self, tx: Transaction) -> Answer:
        await tx.execute(
            "INSERT INTO audit_entries (actor, action, subject, subject_id) VALUES ('test', 'effect', 'test', '1')"
        )
        if self.latch is not None:
            await self.latch()
        return Answer(status=201, body=f'{{"id":"{uuid4()}"}}')

    async def count(self) -> int:
        """Return the number of times that the step took effect."""
        number: int = await self._database.fetchval("SELECT count(*) FROM audit_entries")
        return number


async def test_a_repeated_request_gets_the_first_answer_and_takes_effect_once(database: Database) -> None:
    effect = Effect(database)
    first = await run_idempotent(database, request_of(), effect)
    assert await run_idempotent(database, request_of(), effect) == first
    assert await effect.count() == 1


async def test_an_idempotency_key_belongs_to_one_user_and_one_route_and_one_body(database: Database) -> None:
    effect = Effect(database)
    await run_idempotent(database, request_of(), effect)
    for other in (request_of(path="/other"), request_of(body=b'{"a": 1}')):
        with pytest.raises(IdempotencyKeyReused):
            await run_idempotent(database, other, effect)
    another_user = Identity(role="customer", user_id=UUID(int=2))
    same_person_as_mitra = Identity(role="mitra", user_id=ME.user_id)
    for who in (another_user, same_person_as_mitra):
        await run_idempotent(database, request_of(who=who), effect)
    assert await effect.count() == 3


async def test_a_repeated_request_is_refused_while_the_first_request_runs(database: Database) -> None:
    effect = Effect(database)
    effect.latch = Latch()
    running = asyncio.create_task(run_idempotent(database, request_of(), effect))
    await effect.latch.reached.wait()
    with pytest.raises(IdempotencyInProgress):
        await run_idempotent(database, request_of(), effect)
    effect.latch.open()
    first = await running
    assert await run_idempotent(database, request_of(), effect) == first
    assert await effect.count() == 1


async def test_only_one_of_twenty_concurrent_requests_with_one_key_takes_effect(database: Database) -> None:
    effect = Effect(database)

    async def ask() -> Answer | str:
        try:
            return await run_idempotent(database, request_of(), effect)
        except BusinessError as error:
            return error.code

    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert await effect.count() == 1
    assert len({answer for answer in answers if isinstance(answer, Answer)}) == 1
    assert {answer for answer in answers if isinstance(answer, str)} <= {"idempotency_in_progress"}


async def test_the_server_stores_a_business_error_as_the_answer_but_does_not_store_a_fault(
    database: Database,
) -> None:
    async def refuse(_tx: Transaction) -> Answer:
        raise NotFound

    async def break_down(_tx: Transaction) -> Answer:
        raise RuntimeError("a fault")

    effect = Effect(database)
    with pytest.raises(NotFound):
        await run_idempotent(database, request_of("refused"), refuse)
    answer = await run_idempotent(database, request_of("refused"), effect)
    assert (answer.status, '"code":"not_found"' in answer.body) == (404, True)
    with pytest.raises(RuntimeError):
        await run_idempotent(database, request_of("broken"), break_down)
    assert (await run_idempotent(database, request_of("broken"), effect)).status == 201
    assert await effect.count() == 1


@pytest.mark.parametrize("key", [None, "", "x" * 201, "line\nbreak"])
def test_an_idempotency_key_is_refused_if_it_is_missing_or_too_long_or_unprintable(key: str | None) -> None:
    with pytest.raises(IdempotencyKeyMissing):
        idempotent_request(ME, key, "POST", "/payments", b"")


@pytest.mark.invariant(12)
async def test_a_repeated_request_can_run_ten_seconds_after_the_process_died(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set()
    async with database.transaction() as tx:
        assert await begin_long(tx, request_of()) is None
    # Simulate the death of the process at this point.
    async with database.transaction() as tx:
        with pytest.raises(IdempotencyInProgress):
            await begin_long(tx, request_of())
    await clock.advance(10.001)
    answer = Answer(status=200, body="{}")
    async with database.transaction() as tx:
        assert await begin_long(tx, request_of()) is None
        await finish_long(tx, request_of(), answer)
    assert await run_idempotent(database, request_of(), Effect(database)) == answer


async def test_idempotency_keys_are_deleted_after_a_day(database: Database, clock: VirtualClock) -> None:
    await clock.set()
    effect = Effect(database)
    await run_idempotent(database, request_of(), effect)
    await clock.advance(24 * 3600 + 1)
    async with database.transaction() as tx:
        await idempotency.prune(tx)
    await run_idempotent(database, request_of(), effect)
    assert await effect.count() == 2
