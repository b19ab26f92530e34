"""The mock gateway: a third party that remembers on its own, and can be told to misbehave (2a.1).

It keeps its memory in the schema `mock_gateway`, through connections and transactions of its own, as a third party
would: a crash or roll-back of ours does not undo it. Nothing of ours reads that schema.

Behaviours
    approve   approves at once
    decline   declines charges and refuses refunds, at once
    slow      approves, but the answer becomes known only SLOW_SECONDS later, by call-back or to who asks
    lost      approves, and the answer to the call never arrives; who asks by key learns it
    double    approves at once, and calls back twice with the same answer
"""

import asyncio
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from curhat.kit.database import Database
from curhat.payments.gateway import ChargeAnswer, ChargeCallback, RefundAnswer

log = structlog.get_logger(__name__)

Behaviour = Literal["approve", "decline", "slow", "lost", "double"]

# Longer than ANSWER_TIMEOUT_SECONDS, so that a confirmation answers 202 first.
SLOW_SECONDS = 7.0

RECORD_CHARGE = """
INSERT INTO mock_gateway.charges (key, payment_id, amount_rp, status, known_at, at)
VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key
"""

FIND_CHARGE = """
SELECT status, known_at > clock_timestamp() AS processing FROM mock_gateway.charges WHERE key = $1
"""

RECORD_REFUND = """
INSERT INTO mock_gateway.refunds (key, charge_key, payment_id, amount_rp, status, at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp())
ON CONFLICT (key) DO NOTHING
"""

SET_BEHAVIOUR = """
INSERT INTO mock_gateway.behaviours (payment_id, behaviour) VALUES ($1, $2)
ON CONFLICT (payment_id) DO UPDATE SET behaviour = excluded.behaviour
"""

FIND_BEHAVIOUR = """
SELECT behaviour FROM mock_gateway.behaviours WHERE payment_id = $1 OR payment_id IS NULL
ORDER BY payment_id NULLS LAST LIMIT 1
"""

CHARGES_OF = """
SELECT key, payment_id, amount_rp, status, at FROM mock_gateway.charges WHERE payment_id = $1 ORDER BY at, key
"""

REFUNDS_OF = """
SELECT key, charge_key, payment_id, amount_rp, status, at FROM mock_gateway.refunds
WHERE payment_id = $1 ORDER BY at, key
"""


class RecordedCharge(msgspec.Struct, frozen=True):
    """A charge in the gateway's own books."""

    key: UUID
    payment_id: UUID
    amount_rp: int
    status: Literal["approved", "declined"]
    at: datetime


class RecordedRefund(msgspec.Struct, frozen=True):
    """A refund in the gateway's own books."""

    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    status: Literal["done", "failed"]
    at: datetime


class GatewayRecords(msgspec.Struct, frozen=True):
    """What the gateway recorded for one payment, oldest first."""

    charges: list[RecordedCharge]
    refunds: list[RecordedRefund]


class MockGateway:
    """A Gateway over its own tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callback: ChargeCallback | None = None
        self._callbacks_under_way: set[asyncio.Task[None]] = set()

    def on_charge_answer(self, callback: ChargeCallback) -> None:
        """See Gateway."""
        self._callback = callback

    async def charge(self, key: UUID, payment_id: UUID, amount_rp: int) -> ChargeAnswer:
        """See Gateway."""
        behaviour: Behaviour = await self._database.fetchval(FIND_BEHAVIOUR, payment_id) or "approve"
        recorded = await self._database.fetchval(
            RECORD_CHARGE,
            key,
            payment_id,
            amount_rp,
            "declined" if behaviour == "decline" else "approved",
            SLOW_SECONDS if behaviour == "slow" else 0.0,
        )
        if recorded is None:
            return await self.find_charge(key)
        if behaviour == "slow":
            self._call_back_later(key, SLOW_SECONDS, times=1)
            await asyncio.sleep(SLOW_SECONDS)
        elif behaviour == "lost":
            await asyncio.Event().wait()  # The caller's own time-out ends this.
        elif behaviour == "double":
            self._call_back_later(key, 0, times=2)
        return await self.find_charge(key)

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        """See Gateway."""
        row = await self._database.fetchrow(FIND_CHARGE, key)
        if row is None:
            return ChargeAnswer("not_found")
        if row["processing"]:
            return ChargeAnswer("processing")
        if row["status"] == "declined":
            return ChargeAnswer("declined", reason="declined by the mock gateway")
        return ChargeAnswer("approved")

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """See Gateway."""
        behaviour: Behaviour = await self._database.fetchval(FIND_BEHAVIOUR, payment_id) or "approve"
        status = "failed" if behaviour == "decline" else "done"
        await self._database.execute(RECORD_REFUND, key, charge_key, payment_id, amount_rp, status)
        return await self.find_refund(key)

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """See Gateway."""
        status = await self._database.fetchval("SELECT status FROM mock_gateway.refunds WHERE key = $1", key)
        if status == "failed":
            return RefundAnswer("failed", reason="refused by the mock gateway")
        return RefundAnswer(status or "not_found")

    def _call_back_later(self, key: UUID, seconds: float, *, times: int) -> None:
        async def call_back() -> None:
            await asyncio.sleep(seconds)
            for _ in range(times):
                if self._callback is not None:
                    await self._callback(key, await self.find_charge(key))

        task = asyncio.create_task(call_back())
        self._callbacks_under_way.add(task)
        task.add_done_callback(self._call_back_done)

    def _call_back_done(self, task: asyncio.Task[None]) -> None:
        self._callbacks_under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # As with any third party's call-back that we failed to take: asking by key finds the answer.
            log.warning("mock_gateway.call_back_failed", error=type(task.exception()).__name__)

    async def close(self) -> None:
        """Drop the call-backs still to come."""
        for task in self._callbacks_under_way:
            task.cancel()
        await asyncio.gather(*self._callbacks_under_way, return_exceptions=True)

    async def set_behaviour(self, behaviour: Behaviour, payment_id: UUID | None) -> None:
        """What happens from now on, to the charges of one payment or of all."""
        await self._database.execute(SET_BEHAVIOUR, payment_id, behaviour)

    async def recorded(self, payment_id: UUID) -> GatewayRecords:
        """Everything the gateway itself recorded for a payment."""
        charges = await self._database.fetch(CHARGES_OF, payment_id)
        refunds = await self._database.fetch(REFUNDS_OF, payment_id)
        return GatewayRecords(
            charges=[msgspec.convert(dict(row), RecordedCharge) for row in charges],
            refunds=[msgspec.convert(dict(row), RecordedRefund) for row in refunds],
        )
