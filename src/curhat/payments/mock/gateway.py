"""The mock gateway itself. The package's docstring describes each behaviour."""

import asyncio
from uuid import UUID

import msgspec
import structlog

from curhat.kit.database import Database
from curhat.payments.gateway import ChargeAnswer, ChargeCallback, RefundAnswer
from curhat.payments.mock import queries
from curhat.payments.mock.schemas import Behaviour, GatewayRecords

log = structlog.get_logger(__name__)

# Longer than ANSWER_TIMEOUT_SECONDS, so that the server first answers a confirmation with 202.
SLOW_SECONDS = 7.0


class MockGateway:
    """A Gateway that stores charges and refunds in its own tables."""

    def __init__(self, database: Database, callback: ChargeCallback | None = None) -> None:
        self._database = database
        self._callback = callback
        self._running_callbacks: set[asyncio.Task[None]] = set()

    async def charge(self, key: UUID, payment_id: UUID, amount_rp: int) -> ChargeAnswer:
        behaviour = await self._behaviour(payment_id)
        recorded = await queries.record_charge(
            self._database,
            key=key,
            payment_id=payment_id,
            amount_rp=amount_rp,
            charge_status="declined" if behaviour == "decline" else "approved",
            known_after_seconds=SLOW_SECONDS if behaviour == "slow" else 0.0,
        )
        if recorded is None:
            return await self.find_charge(key)
        if behaviour == "slow":
            self._call_back_later(key, SLOW_SECONDS, times=1)
            await asyncio.sleep(SLOW_SECONDS)
        elif behaviour == "lost":
            await asyncio.Event().wait()  # The caller's timeout ends this wait.
        elif behaviour == "double":
            self._call_back_later(key, 0, times=2)
        return await self.find_charge(key)

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        found = await queries.find_charge(self._database, key=key)
        if found is None:
            return ChargeAnswer("not_found")
        if found.is_processing:
            return ChargeAnswer("processing")
        is_declined = found.charge_status == "declined"
        return ChargeAnswer(found.charge_status, "declined by the mock gateway" if is_declined else None)

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        await queries.record_refund(
            self._database,
            key=key,
            charge_key=charge_key,
            payment_id=payment_id,
            amount_rp=amount_rp,
            refund_status="failed" if await self._behaviour(payment_id) == "decline" else "done",
        )
        return await self.find_refund(key)

    async def find_refund(self, key: UUID) -> RefundAnswer:
        status = await queries.find_refund(self._database, key=key)
        if status == "failed":
            return RefundAnswer("failed", reason="refused by the mock gateway")
        return RefundAnswer(status or "not_found")

    async def _behaviour(self, payment_id: UUID) -> Behaviour:
        return await queries.find_behaviour(self._database, payment_id=payment_id) or "approve"

    def _call_back_later(self, key: UUID, seconds: float, *, times: int) -> None:
        async def call_back() -> None:
            await asyncio.sleep(seconds)
            for _ in range(times):
                if self._callback is not None:
                    await self._callback(key, await self.find_charge(key))

        task = asyncio.create_task(call_back())
        self._running_callbacks.add(task)
        task.add_done_callback(self._call_back_done)

    def _call_back_done(self, task: asyncio.Task[None]) -> None:
        self._running_callbacks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # This answer is lost, as if our code had failed to handle the callback of a real gateway. A query by key
            # returns the same answer.
            log.warning("mock_gateway.call_back_failed", error=type(task.exception()).__name__)

    async def close(self) -> None:
        """Cancel the callbacks that have not been made."""
        for task in self._running_callbacks:
            task.cancel()
        await asyncio.gather(*self._running_callbacks, return_exceptions=True)

    async def set_behaviour(self, behaviour: Behaviour, payment_id: UUID | None) -> None:
        """Use this behaviour from now on for one payment or, without `payment_id`, for all payments."""
        await queries.set_behaviour(self._database, payment_id=payment_id, behaviour=behaviour)

    async def recorded(self, payment_id: UUID) -> GatewayRecords:
        """Return everything that the gateway recorded for a payment."""
        charges = await queries.list_charges(self._database, payment_id=payment_id)
        refunds = await queries.list_refunds(self._database, payment_id=payment_id)
        return msgspec.convert({"charges": charges, "refunds": refunds}, GatewayRecords, from_attributes=True)
