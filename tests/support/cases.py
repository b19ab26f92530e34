"""Makes payments with a review case, either without a session or with a session that was cut short.

The module also runs the steps of a worker.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from curhat.deadlines import loop as deadline_loop
from curhat.pairing import service as pairing
from curhat.pairing.states import FailureTag
from curhat.sessions import service as sessions
from tests.support.journey import open_blast
from tests.support.signed_in import RunningServer


class PaymentWithCase(msgspec.Struct, frozen=True):
    """A charged payment that has no session, or has a session that was cut short."""

    customer_id: UUID
    payment_id: UUID
    case_id: UUID
    charge_key: UUID | None


async def make_failed_search(
    server: RunningServer,
    *,
    price_rp: int = 20_000,
    tag: FailureTag = "no_mitra_available",
    call_name: str = "Bunga",
    asked: Sequence[UUID] = (),
) -> PaymentWithCase:
    """Make a payment that has a charge and a failed search. The payment's case is open."""
    customer_id = await server.make.customer(call_name)
    payment_id = await server.make.confirmed_payment(customer_id, price_rp=price_rp)
    charge_key = await _charged(server, payment_id, price_rp)
    pairing_id = await open_blast(server.database, payment_id, list(asked))
    async with server.database.transaction() as tx:
        await pairing.fail(tx, await pairing.lock(tx, pairing_id), tag)
    return PaymentWithCase(customer_id, payment_id, await _case_of(server, payment_id), charge_key)


async def make_chat_cut_short(
    server: RunningServer, *, note: str = "listrik padam"
) -> tuple[PaymentWithCase, UUID]:
    """Make a chat that the mitra ended early. Returns the chat's payment with the open case, and the session's id."""
    chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=20))
    charge_key = await _charged(server, chat.payment_id, 20_000)
    async with server.database.transaction() as tx:
        await sessions.end_by_mitra(tx, chat.mitra.user_id, chat.id, note)
    case_id = await _case_of(server, chat.payment_id)
    return PaymentWithCase(chat.customer.user_id, chat.payment_id, case_id, charge_key), chat.id


async def run_worker(server: RunningServer) -> None:
    """Run the due transitions and their calls to other services, as a worker does, until no deadline is due."""
    while await deadline_loop.run_once(server.database, server.application.services.transitions):
        pass


async def _charged(server: RunningServer, payment_id: UUID, price_rp: int) -> UUID | None:
    key: UUID | None = await server.database.fetchval(
        "SELECT id FROM charge_attempts WHERE payment_id = $1 AND status = 'approved'", payment_id
    )
    if key is not None:
        await server.application.services.gateway.charge(key, payment_id, price_rp)
    return key


async def _case_of(server: RunningServer, payment_id: UUID) -> UUID:
    case_id: UUID = await server.database.fetchval(
        "SELECT id FROM review_cases WHERE payment_id = $1", payment_id
    )
    return case_id
