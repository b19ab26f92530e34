"""Test the deletion of an account against a new payment, an accept and a sign-in at the same time (P.3)."""

from uuid import UUID

import asyncpg
import pytest

from curhat.accounts import service as accounts
from curhat.journeys import searching
from curhat.kit.database import Database, Transaction
from curhat.kit.identity import Identity, Role
from curhat.payments import service as payments
from curhat.pricing.schemas import Offer
from curhat.privacy.erasure import service as erasure
from tests.support.journey import open_blast, request_of
from tests.support.people import Make
from tests.support.race import Side, command, race

KEY = b"k" * 32


def deletion(database: Database, role: Role, user_id: UUID) -> Side:
    return command(database, lambda tx: erasure.delete_account(tx, KEY, Identity(role, user_id)))


@pytest.mark.rule("P.3")
@pytest.mark.parametrize("first", ["payment", "deletion"])
async def test_a_deletion_and_a_new_payment_never_both_succeed(
    database: Database, make: Make, first: str
) -> None:
    customer = await make.customer()
    offer = Offer(await make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)

    async def open_payment(tx: Transaction) -> None:
        await accounts.refuse_suspended_customer(tx, customer, until_commit=True)
        await payments.open_payment(tx, customer, offer, timeout_minutes=20)

    opens, deletes = command(database, open_payment), deletion(database, "customer", customer)
    if first == "payment":
        assert await race(database, opens, deletes) == ("done", "journey_in_progress")
    else:
        assert await race(database, deletes, opens) == ("done", "suspended")
    deleted = await database.fetchval("SELECT deleted_at IS NOT NULL FROM customers")
    assert (await database.fetchval("SELECT count(*) FROM payments"), deleted) == (
        (1, False) if first == "payment" else (0, True)
    )


@pytest.mark.rule("P.3")
@pytest.mark.parametrize("first", ["accept", "deletion"])
async def test_a_deletion_and_an_accept_of_the_mitra_never_both_succeed(
    database: Database, make: Make, first: str
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    accepts = command(database, lambda tx: searching.accept(tx, mitra, request_id))
    deletes = deletion(database, "mitra", mitra)
    if first == "accept":
        assert await race(database, accepts, deletes) == ("done", "journey_in_progress")
    else:
        deleted, accepted = await race(database, deletes, accepts)
        assert (deleted, accepted) in (("done", "request_closed"), ("done", "mitra_offline"))
    sessions = await database.fetchval("SELECT count(*) FROM sessions")
    assert sessions == (1 if first == "accept" else 0)


@pytest.mark.rule("P.3")
async def test_the_database_refuses_a_token_and_a_payment_of_a_deleted_account(
    database: Database, make: Make
) -> None:
    customer = await make.customer()
    offer_id = await make.offer()
    async with database.transaction() as tx:
        await erasure.delete_account(tx, KEY, Identity("customer", customer))
    with pytest.raises(asyncpg.CheckViolationError, match="is deleted"):
        await database.execute(
            "INSERT INTO access_tokens (digest, role, user_id, transport, expires_at) "
            "VALUES ('\\x00', 'customer', $1, 'bearer', curhat_now())",
            customer,
        )
    with pytest.raises(asyncpg.CheckViolationError, match="is deleted"):
        await database.execute(
            "INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at) "
            "VALUES ($1, 'session', $2, 30, 20000, false, curhat_now())",
            customer,
            offer_id,
        )
    with pytest.raises(asyncpg.RestrictViolationError):
        await database.execute("UPDATE audit_entries SET actor = 'nobody'")
