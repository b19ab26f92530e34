"""Test the fresh one-time code, which steps need for which a token is not enough (P.3, P.6)."""

from uuid import UUID, uuid4

import pytest

from curhat.accounts import codes, requesters, service
from curhat.accounts.errors import CodeInvalid, FreshCodeMissing
from curhat.accounts.service import SentCode
from curhat.kit.database import Database
from curhat.kit.identity import Identity, Role
from tests.support.clock import VirtualClock
from tests.support.people import Make

KEY = b"k" * 32
HERE = requesters.stranger(KEY, "10.0.0.1")


async def ask(database: Database, person_id: UUID, role: Role = "customer") -> SentCode:
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", person_id)
    async with database.transaction() as tx:
        return await service.request_code(tx, KEY, role, phone, HERE)


async def use(database: Database, identity: Identity, written: str | None) -> CodeInvalid | None:
    async with database.transaction() as tx:
        return await service.use_fresh_code(tx, KEY, identity, written)


def header(sent: SentCode) -> str:
    return f"{sent.request_id}:{sent.code}"


def wrong(sent: SentCode) -> str:
    return f"{sent.request_id}:{(int(sent.code) + 1) % 10**codes.DIGITS:06d}"


@pytest.mark.rule("P.3")
async def test_a_fresh_code_works_once_and_only_for_its_role(database: Database, make: Make) -> None:
    person_id = await make.customer()
    await make.mitra(person_id=person_id)
    sent = await ask(database, person_id)
    with pytest.raises(CodeInvalid):
        await use(database, Identity("mitra", person_id), header(sent))
    assert await use(database, Identity("customer", person_id), header(sent)) is None
    with pytest.raises(CodeInvalid):
        await use(database, Identity("customer", person_id), header(sent))


@pytest.mark.rule("P.3")
async def test_a_code_of_another_phone_is_refused_and_stays_good_for_its_owner(
    database: Database, make: Make
) -> None:
    owner, other = await make.customer(), await make.customer()
    sent = await ask(database, owner)
    for _ in range(codes.MAX_TRIES_PER_CODE + 1):
        with pytest.raises(CodeInvalid):
            await use(database, Identity("customer", other), wrong(sent))
    with pytest.raises(CodeInvalid):
        await use(database, Identity("customer", other), header(sent))
    assert await use(database, Identity("customer", owner), header(sent)) is None


@pytest.mark.rule("P.3")
async def test_five_wrong_tries_end_a_fresh_code(database: Database, make: Make) -> None:
    customer = Identity("customer", await make.customer())
    sent = await ask(database, customer.user_id)
    for _ in range(codes.MAX_TRIES_PER_CODE):
        assert isinstance(await use(database, customer, wrong(sent)), CodeInvalid)
    with pytest.raises(CodeInvalid):
        await use(database, customer, header(sent))


@pytest.mark.rule("P.3")
async def test_a_missing_an_old_and_an_unreadable_fresh_code_are_refused(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    customer = Identity("customer", await make.customer())
    with pytest.raises(FreshCodeMissing):
        await use(database, customer, None)
    for unreadable in ("", ":", "123456", "x:123456", f"{uuid4()}:123456"):
        with pytest.raises(CodeInvalid):
            await use(database, customer, unreadable)
    await clock.set()
    sent = await ask(database, customer.user_id)
    await clock.advance(seconds=codes.VALID_SECONDS + 1)
    with pytest.raises(CodeInvalid):
        await use(database, customer, header(sent))
