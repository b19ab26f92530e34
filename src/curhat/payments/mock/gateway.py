"""The mock gateway itself. The package's docstring describes each behaviour."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

import msgspec
import structlog

from curhat.kit.database import Database
from curhat.payments.gateway import (
    ChargeAnswer,
    ChargeCallback,
    ListedCharge,
    ListedRefund,
    RefundAnswer,
    RefundCallback,
    Webhook,
    WebhookForged,
    WebhookMalformed,
)
from curhat.payments.mock import queries
from curhat.payments.mock.schemas import (
    Behaviour,
    BookFault,
    GatewayRecords,
    MockWebhook,
    RecordedChargeStatus,
    RecordedRefundStatus,
)

log = structlog.get_logger(__name__)

# SLOW_SECONDS is longer than ANSWER_TIMEOUT_SECONDS, so that the server first answers a confirmation with 202.
SLOW_SECONDS = 7.0
# The amount of a charge that the mock invents.
INVENTED_RP = 12_345
# Xendit sends its token in this header too.
WEBHOOK_TOKEN_HEADER = "x-callback-token"  # noqa: S105  the name of a header


class MockGateway:
    """A Gateway that stores charges and refunds in its own tables."""

    def __init__(
        self,
        database: Database,
        charge_callback: ChargeCallback | None = None,
        refund_callback: RefundCallback | None = None,
        webhook_token: str | None = None,
    ) -> None:
        """Without `webhook_token`, the mock accepts no web hook."""
        self._database = database
        self._charge_callback = charge_callback
        self._refund_callback = refund_callback
        self._webhook_token = webhook_token
        self._running_callbacks: set[asyncio.Task[None]] = set()

    async def charge(
        self, key: UUID, payment_id: UUID, amount_rp: int, customer_id: UUID | None = None
    ) -> ChargeAnswer:
        behaviour = await self._behaviour(payment_id)
        recorded = await queries.record_charge(
            self._database,
            key=key,
            payment_id=payment_id,
            customer_id=customer_id,
            amount_rp=amount_rp,
            charge_status=_charge_status(behaviour),
            known_after_seconds=SLOW_SECONDS if behaviour == "slow" else 0.0,
        )
        if recorded is not None:
            await self._misbehave(behaviour, partial(self._call_back_charge, key))
        return await self.find_charge(key)

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        status = await queries.find_charge(self._database, key=key) or "not_found"
        return ChargeAnswer(status, "declined by the mock gateway" if status == "declined" else None)

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        behaviour = await self._behaviour(payment_id)
        recorded = await queries.record_refund(
            self._database,
            key=key,
            charge_key=charge_key,
            payment_id=payment_id,
            amount_rp=amount_rp,
            refund_status=_refund_status(behaviour),
            known_after_seconds=SLOW_SECONDS if behaviour == "slow" else 0.0,
        )
        if recorded is not None:
            await self._misbehave(behaviour, partial(self._call_back_refund, key))
        return await self.find_refund(key)

    async def find_refund(self, key: UUID) -> RefundAnswer:
        status = await queries.find_refund(self._database, key=key) or "not_found"
        return RefundAnswer(status, "refused by the mock gateway" if status == "failed" else None)

    async def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        for row in await queries.list_charges_since(self._database, since=since):
            yield msgspec.convert(row, ListedCharge, from_attributes=True)

    async def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        for row in await queries.list_refunds_since(self._database, since=since):
            yield msgspec.convert(row, ListedRefund, from_attributes=True)

    async def _behaviour(self, payment_id: UUID) -> Behaviour:
        return await queries.find_behaviour(self._database, payment_id=payment_id) or "approve"

    async def _misbehave(self, behaviour: Behaviour, call_back: Callable[[], Awaitable[None]]) -> None:
        """Delay, lose or repeat the answer to a recorded call, according to the behaviour."""
        if behaviour == "slow":
            self._start(call_back, SLOW_SECONDS)
            await asyncio.sleep(SLOW_SECONDS)
        elif behaviour == "lost":
            await asyncio.Event().wait()  # The caller's timeout ends this wait.
        elif behaviour == "double":
            self._start(call_back, 0, times=2)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook | None:
        """Read a body such as {"event": "charge", "key": "…"}.

        Events other than `charge` and `refund` do not concern Curhat.
        """
        given = headers.get(WEBHOOK_TOKEN_HEADER, "")
        if self._webhook_token is None or not hmac.compare_digest(
            given.encode(), self._webhook_token.encode()
        ):
            raise WebhookForged
        try:
            said = msgspec.json.decode(body, type=MockWebhook)
        except (msgspec.DecodeError, RecursionError) as error:
            raise WebhookMalformed from error
        match said.event:
            case "charge" | "refund":
                return Webhook(said.event, said.key)
            case _:
                return None

    async def follow_webhook(self, webhook: Webhook) -> None:
        if webhook.about == "charge":
            charge = await self.find_charge(webhook.key)
            if charge.status in ("approved", "declined") and self._charge_callback is not None:
                await self._charge_callback(webhook.key, charge)
        else:
            refund = await self.find_refund(webhook.key)
            if refund.status in ("done", "failed") and self._refund_callback is not None:
                await self._refund_callback(webhook.key, refund)

    async def _call_back_charge(self, key: UUID) -> None:
        if self._charge_callback is not None:
            amount_rp = await queries.find_charge_amount(self._database, key=key)
            answer = msgspec.structs.replace(await self.find_charge(key), amount_rp=amount_rp)
            await self._charge_callback(key, answer)

    async def _call_back_refund(self, key: UUID) -> None:
        if self._refund_callback is not None:
            await self._refund_callback(key, await self.find_refund(key))

    def _start(self, call_back: Callable[[], Awaitable[None]], seconds: float, *, times: int = 1) -> None:
        async def call_back_later() -> None:
            await asyncio.sleep(seconds)
            for _ in range(times):
                await call_back()

        task = asyncio.create_task(call_back_later())
        self._running_callbacks.add(task)
        task.add_done_callback(self._call_back_done)

    def _call_back_done(self, task: asyncio.Task[None]) -> None:
        self._running_callbacks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Our code failed to handle this answer, so the answer is lost. A query by key returns the lost answer.
            log.warning("mock_gateway.call_back_failed", error=type(task.exception()).__name__)

    async def close(self) -> None:
        """Cancel the callbacks that have not been made."""
        for task in self._running_callbacks:
            task.cancel()
        await asyncio.gather(*self._running_callbacks, return_exceptions=True)

    async def set_behaviour(self, behaviour: Behaviour, payment_id: UUID | None) -> None:
        """Use `behaviour` from now on for one payment or, without `payment_id`, for all payments.

        Decides the charges and refunds that the earlier behaviour kept open, and calls back.
        """
        await queries.set_behaviour(self._database, payment_id=payment_id, behaviour=behaviour)
        if (charge_status := _charge_status(behaviour)) != "processing":
            for key in await queries.decide_charges(
                self._database, payment_id=payment_id, charge_status=charge_status
            ):
                self._start(partial(self._call_back_charge, key), 0)
        if (refund_status := _refund_status(behaviour)) != "processing":
            for key in await queries.decide_refunds(
                self._database, payment_id=payment_id, refund_status=refund_status
            ):
                self._start(partial(self._call_back_refund, key), 0)

    async def falsify_books(self, fault: BookFault, payment_id: UUID) -> None:
        """Leave the charges of a payment out of the list, or list a charge that nobody asked for."""
        if fault == "forget":
            await queries.forget_charges(self._database, payment_id=payment_id)
            return
        await queries.record_charge(
            self._database,
            key=uuid4(),
            payment_id=payment_id,
            customer_id=None,
            amount_rp=INVENTED_RP,
            charge_status="approved",
            known_after_seconds=0.0,
        )

    async def recorded(self, payment_id: UUID) -> GatewayRecords:
        """Return everything that the gateway recorded for a payment."""
        charges = await queries.list_charges(self._database, payment_id=payment_id)
        refunds = await queries.list_refunds(self._database, payment_id=payment_id)
        return msgspec.convert({"charges": charges, "refunds": refunds}, GatewayRecords, from_attributes=True)


def _charge_status(behaviour: Behaviour) -> RecordedChargeStatus:
    if behaviour == "processing":
        return "processing"
    return "declined" if behaviour == "decline" else "approved"


def _refund_status(behaviour: Behaviour) -> RecordedRefundStatus:
    if behaviour in ("processing", "pending"):
        return "processing"
    return "failed" if behaviour == "decline" else "done"
