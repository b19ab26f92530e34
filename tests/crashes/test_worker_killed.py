"""Kill workers while deadlines are due. Each deadline must take effect exactly once and never early."""

import asyncio
from uuid import UUID

import pytest

from curhat.journeys import charging, paying, searching
from curhat.kit.database import Database
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.mock.schemas import GatewayRecords
from curhat.payments.service import Charge
from curhat.pricing.schemas import Offer
from tests.crashes.system import System, available, sockets_of, unavailable, until, working
from tests.support.journey import somebody

CUSTOMERS = """
WITH somebody AS (
    INSERT INTO people (phone_number)
    SELECT '+62814' || lpad(number::text, 7, '0') FROM generate_series(1, $1) AS number
    RETURNING id
)
INSERT INTO customers (id, call_name) SELECT id, 'Bunga' FROM somebody RETURNING id
"""

# Make the armed deadlines due one after another within 3 s. A worker fires deadlines with the same due time in a few
# transactions, before the test can kill the worker.
DUE_SOON = """
WITH moment AS MATERIALIZED (SELECT curhat_now() + interval '2 seconds' AS first_due),
given AS MATERIALIZED (
    SELECT id, entity_id, moment.first_due + row_number() OVER (ORDER BY id) * interval '10 milliseconds' AS due_at
    FROM deadlines, moment
),
pairing AS (UPDATE pairings SET deadline_at = given.due_at FROM given WHERE given.entity_id = pairings.id),
payment AS (UPDATE payments SET expires_at = given.due_at FROM given WHERE given.entity_id = payments.id)
UPDATE deadlines SET due_at = given.due_at FROM given WHERE given.id = deadlines.id
"""

OUTCOMES = """
SELECT 'window over' AS what, count(*) FROM status_changes WHERE entity = 'pairing' AND new_status = 'failed'
UNION ALL SELECT 'expired', count(*) FROM status_changes WHERE entity = 'payment' AND new_status = 'expired'
UNION ALL SELECT tag, count(*) FROM failed_pairing_events GROUP BY tag
UNION ALL SELECT 'cases', count(*) FROM review_cases
UNION ALL SELECT 'customers told', count(*) FROM stream_events
    WHERE type = 'payment.updated' AND data::jsonb ->> 'status' IN ('unserved', 'expired')
UNION ALL SELECT 'deadlines left', count(*) FROM deadlines WHERE kind <> 'books_close'
"""

# Move the start and the end of the running session into the past, so that the session ends now.
SESSION_IS_OVER = """
UPDATE sessions SET started_at = moment.now - make_interval(mins => duration_minutes), ends_at = moment.now
FROM (SELECT curhat_now() AS now OFFSET 0) AS moment WHERE status = 'active'
"""


def terms(offer_id: UUID, *, price_rp: int) -> Offer:
    """Return an offer of 30 minutes at this price. An offer at price 0 is a trial."""
    return Offer(offer_id, duration_minutes=30, price_rp=price_rp, is_trial=price_rp == 0)


@pytest.mark.rule("2a.5", "2b.3")
@pytest.mark.invariant(4, 5, 12)
async def test_hundreds_of_deadlines_take_effect_once_and_never_early_while_workers_are_killed(
    system: System,
) -> None:
    before, after, survivor = (system.worker(f"due {number}") for number in range(3))
    await asyncio.gather(
        before.start("deadline.before_commit:3"), after.start("deadline.after_commit:3"), survivor.start()
    )
    trial, paid = await system.make.offer(price_rp=0), await system.make.offer()
    mitra = await system.make.mitra()
    async with system.database.transaction() as tx:
        for number, row in enumerate(await tx.fetch(CUSTOMERS, 300)):
            if number % 2:
                await payments.open_payment(tx, row["id"], terms(paid, price_rp=20_000), 20)
            else:
                payment_id = await payments.open_payment(tx, row["id"], terms(trial, price_rp=0), 20)
                await paying.begin_confirmation(tx, row["id"], payment_id, [mitra])
        await tx.execute(DUE_SOON)

    await asyncio.gather(before.killed(), after.killed())
    await system.check()

    assert {row["what"]: row["count"] for row in await system.database.fetch(OUTCOMES)} == {
        "window over": 150,
        "expired": 150,
        "no_mitra_available": 150,
        "payment_session_expired": 150,
        "cases": 150,
        "customers told": 300,
        "deadlines left": 0,
    }
    await survivor.close()


class Attempt:
    """A charge attempt without a recorded answer."""

    def __init__(self, system: System, customer_id: UUID, charge: Charge) -> None:
        self.system = system
        self.customer_id = customer_id
        self.charge = charge
        self.gateway = MockGateway(system.database)

    @classmethod
    async def begin(cls, system: System) -> "Attempt":
        """Create a customer with a payment, and begin the confirmation of the payment."""
        customer_id = await system.make.customer()
        offer_id = await system.make.offer()
        mitras = await somebody(system.database)
        async with system.database.transaction() as tx:
            payment_id = await payments.open_payment(tx, customer_id, terms(offer_id, price_rp=20_000), 20)
            charge = await paying.begin_confirmation(tx, customer_id, payment_id, mitras)
        assert charge is not None
        return cls(system, customer_id, charge)

    async def reach_the_gateway(self) -> ChargeAnswer:
        """Send the charge to the gateway, and return the answer. No process records the answer."""
        return await self.gateway.charge(self.charge.key, self.charge.payment_id, self.charge.amount_rp)

    async def recorded(self) -> GatewayRecords:
        """Return the records of the gateway about this payment."""
        return await self.gateway.recorded(self.charge.payment_id)

    async def make_next_try_due(self, kind: str) -> None:
        """Make the armed deadline of this kind due now."""
        moved = await self.system.database.execute(
            "UPDATE deadlines SET due_at = curhat_now() WHERE kind = $1", kind
        )
        assert moved == "UPDATE 1", "the next try must be armed before the gateway is called"


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(2, 9, 12)
async def test_a_refund_is_made_once_when_workers_die_before_and_after_the_gateway_call(
    system: System,
) -> None:
    attempt = await Attempt.begin(system)
    async with system.database.transaction() as tx:
        # Record that the gateway did not know the charge. The function simulates a query that came before the charge
        # reached the gateway.
        await charging.charge_answered(tx, attempt.charge.key, ChargeAnswer("not_found"), [])
        await paying.cancel_payment(tx, attempt.customer_id, attempt.charge.payment_id)
    approval = await attempt.reach_the_gateway()
    async with system.database.transaction() as tx:
        await charging.charge_answered(tx, attempt.charge.key, approval, [])

    worker = system.worker("refund")
    await worker.start("refund.before_call")
    await worker.killed()
    assert (await attempt.recorded()).refunds == []

    await attempt.make_next_try_due(payments.REFUND_ANSWER)
    await worker.start("refund.after_call")
    await worker.killed()
    assert await system.database.fetchval("SELECT status FROM refunds") == "requested"

    await attempt.make_next_try_due(payments.REFUND_ANSWER)
    await worker.start()
    await system.check()
    assert [refund.amount_rp for refund in (await attempt.recorded()).refunds] == [20_000]
    assert await system.database.fetchval("SELECT status FROM refunds") == "done"
    audited = await system.database.fetch("SELECT action FROM audit_entries ORDER BY id")
    assert [row["action"] for row in audited] == ["refund_requested:late_approval", "refund_done"]
    await worker.close()


@pytest.mark.rule("2a.6", "2a.7")
@pytest.mark.invariant(2, 9, 12)
async def test_a_payment_is_confirmed_once_when_workers_are_killed_while_they_ask_the_gateway(
    system: System,
) -> None:
    """The first answer of the gateway was lost."""
    attempt = await Attempt.begin(system)
    await attempt.reach_the_gateway()

    await attempt.make_next_try_due(payments.CHARGE_ANSWER)
    worker = system.worker("question")
    await worker.start("charge_answer.before_ask")
    await worker.killed()
    await attempt.make_next_try_due(payments.CHARGE_ANSWER)
    await worker.start("charge_answer.asked")
    await worker.killed()
    assert await status_of(system.database, attempt) == "confirming"
    await attempt.make_next_try_due(payments.CHARGE_ANSWER)
    await worker.start()
    await until(lambda: is_confirmed(system.database, attempt))

    assert len((await attempt.recorded()).charges) == 1
    async with system.database.transaction() as tx:
        pairing_id = await tx.connection.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", attempt.charge.payment_id
        )
        await searching.cancel_search(tx, attempt.customer_id, pairing_id)
    await system.check()
    await worker.close()


async def status_of(database: Database, attempt: Attempt) -> str:
    """Return the status of the attempt's payment."""
    status: str = await database.fetchval(
        "SELECT status FROM payments WHERE id = $1", attempt.charge.payment_id
    )
    return status


async def is_confirmed(database: Database, attempt: Attempt) -> bool:
    """Return whether the attempt's payment is confirmed."""
    return await status_of(database, attempt) == "confirmed"


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5, 10, 12)
async def test_both_members_learn_that_the_session_ended_even_if_the_worker_dies_before_it_sends_signals(
    system: System,
) -> None:
    """The worker dies before it sends the signals. The events still arrive within 4 s."""
    server, worker = system.server(), system.worker("session")
    await asyncio.gather(server.start(), worker.start("deadline.before_commit>transaction.committed"))
    customer, mitra = await system.customer(server), await system.mitra(server)
    async with sockets_of(customer) as (device,), working(mitra) as (mitra_device,):
        await system.chat(customer, mitra)
        await until(lambda: unavailable(server))
        async with system.database.transaction() as tx:
            await tx.execute("UPDATE payments SET confirmed_at = confirmed_at - interval '1 day'")
            await tx.execute(SESSION_IS_OVER)
            await tx.execute("UPDATE deadlines SET due_at = curhat_now() WHERE kind = 'session_end'")
        await worker.killed()

        await asyncio.gather(
            device.wait_for_event("session.ended", end_reason="time_up"),
            mitra_device.wait_for_event("session.ended", end_reason="time_up"),
            until(lambda: available(server)),
        )
    await system.check(server)
