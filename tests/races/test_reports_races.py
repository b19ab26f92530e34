"""Test a suspension against a confirmation, and two operators who decide at the same time."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.reports import service as decisions
from curhat.control_center.reports.schemas import AppealVerdict, ReportVerdict
from curhat.journeys import paying, suspensions
from curhat.kit.database import Database, Transaction
from curhat.kit.identity import Identity
from curhat.payments import service as payments
from curhat.pricing.schemas import Offer
from curhat.safety.reports import service as reports
from curhat.safety.reports.schemas import NewReport
from tests.support.chats import open_chat
from tests.support.people import Make
from tests.support.race import command, race


async def make_operator(database: Database) -> SignedInOperator:
    email = f"{uuid4()}@example.id"
    operator_id = await database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ($1, 'reviewer', '') RETURNING id", email
    )
    return SignedInOperator(
        operator_id,
        email,
        "reviewer",
        uuid4(),
        "bearer",
        totp_enrolled=True,
        must_change_password=False,
        known_device_digest=None,
    )


async def pending_payment(database: Database, make: Make, customer_id: UUID) -> UUID:
    offer = Offer(await make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    async with database.transaction() as tx:
        return await payments.open_payment(tx, customer_id, offer, timeout_minutes=20)


async def make_report(database: Database, make: Make) -> UUID:
    chat = await open_chat(database, make)
    async with database.transaction() as tx:
        return (await reports.report(tx, chat.mitra, chat.id, NewReport("threat"))).id


@pytest.mark.rule("T.3")
@pytest.mark.parametrize("first", ["confirmation", "suspension"])
async def test_a_suspension_and_a_confirmation_at_the_same_time_have_an_order(
    database: Database, make: Make, first: str
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    payment_id = await pending_payment(database, make, customer)
    now = await database.fetchval("SELECT curhat_now()")

    async def suspend(tx: Transaction) -> None:
        until = now + timedelta(days=7)
        await suspensions.suspend(tx, Identity("customer", customer), until=until, by="test", reason="threat")

    confirms = command(database, lambda tx: paying.begin_confirmation(tx, customer, payment_id, [mitra]))
    suspends = command(database, suspend)

    if first == "confirmation":
        assert await race(database, confirms, suspends) == ("done", "done")
    else:
        assert await race(database, suspends, confirms) == ("done", "suspended")

    charges = await database.fetchval("SELECT count(*) FROM charge_attempts")
    assert charges == (1 if first == "confirmation" else 0)


@pytest.mark.rule("T.3")
async def test_of_two_operators_at_the_same_time_the_first_decides(database: Database, make: Make) -> None:
    report_id = await make_report(database, make)
    ani, budi = await make_operator(database), await make_operator(database)
    warns = command(
        database, lambda tx: decisions.decide(tx, ani, report_id, ReportVerdict("warn", "x"), "x")
    )
    acquits = command(
        database, lambda tx: decisions.decide(tx, budi, report_id, ReportVerdict("no_action", "x"), "x")
    )

    assert await race(database, warns, acquits) == ("done", "report_decided")

    kinds = await database.fetch("SELECT kind FROM notices ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["report_acted", "warning"]


@pytest.mark.rule("T.4")
async def test_of_two_appeal_decisions_at_the_same_time_the_first_counts(
    database: Database, make: Make
) -> None:
    report_id = await make_report(database, make)
    ani, budi, citra = [await make_operator(database) for _ in range(3)]
    async with database.transaction() as tx:
        await decisions.decide(tx, ani, report_id, ReportVerdict("warn", "x"), "x")
    warning = await database.fetchrow("SELECT id, user_id FROM notices WHERE kind = 'warning'")
    assert warning is not None
    async with database.transaction() as tx:
        await reports.appeal(tx, Identity("customer", warning["user_id"]), warning["id"], "tidak")
    upholds = command(
        database, lambda tx: decisions.decide_appeal(tx, budi, report_id, AppealVerdict("upheld", "x"), "x")
    )
    overturns = command(
        database,
        lambda tx: decisions.decide_appeal(tx, citra, report_id, AppealVerdict("overturned", "x"), "x"),
    )

    assert await race(database, overturns, upholds) == ("done", "appeal_decided")

    assert await database.fetchval("SELECT withdrawn_at IS NOT NULL FROM notices WHERE kind = 'warning'")
