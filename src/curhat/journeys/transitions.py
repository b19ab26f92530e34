"""What happens when a deadline comes due: one transition a kind, run in the transaction of its claim.

A transition that needs the outside (gateway) arms its own next try in that transaction, and returns the call to be
made after the commit.
"""

from collections.abc import Mapping

from curhat.deadlines.service import Deadline, FollowUp, Transition
from curhat.journeys import service as journeys
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import Gateway, GatewayUnknown
from curhat.presence.service import Presence
from curhat.sessions import service as sessions


class Transitions:
    """Every deadline kind of the main road, and what it does."""

    def __init__(self, database: Database, presence: Presence, gateway: Gateway) -> None:
        self._database = database
        self._presence = presence
        self._gateway = gateway

    def by_kind(self) -> Mapping[str, Transition]:
        """The transition of each deadline kind."""
        return {
            payments.PAYMENT_EXPIRY: payment_expiry,
            payments.CHARGE_ANSWER: self._charge_answer,
            payments.REFUND_ANSWER: self._refund_answer,
            pairing.PAIRING_WINDOW: pairing_window,
            sessions.SESSION_END: session_end,
            journeys.SUSPENSION_END: suspension_end,
        }

    async def _charge_answer(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Nobody recorded an answer: ask the gateway by the attempt's key, again and again, later each time."""
        key = deadline.entity_id
        if not await payments.ask_again(tx, key, deadline.generation):
            return None

        async def ask() -> None:
            await pause_point("charge_answer.before_ask")
            try:
                answer = await self._gateway.find_charge(key)
            except GatewayUnknown:
                return
            await pause_point("charge_answer.asked")
            await journeys.take_charge_answer(self._database, self._presence, key, answer)

        return ask

    async def _refund_answer(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """A refund was requested, or its answer is not known: send it, by its key, until it is."""
        refund = await payments.refund_to_carry_out(tx, deadline.entity_id, deadline.generation)
        if refund is None:
            return None

        async def carry_out() -> None:
            await pause_point("refund.before_call")
            try:
                answer = await self._gateway.refund(
                    refund.key, refund.charge_key, refund.payment_id, refund.amount_rp
                )
            except GatewayUnknown:
                return
            await pause_point("refund.after_call")
            async with self._database.transaction() as own:
                await journeys.refund_answered(own, refund.key, answer)

        return carry_out


async def payment_expiry(tx: Transaction, deadline: Deadline) -> None:
    """The time to pay is over (2a.5)."""
    await journeys.expire_payment(tx, deadline.entity_id)


async def pairing_window(tx: Transaction, deadline: Deadline) -> None:
    """The window to accept is over (2b.3)."""
    await pairing.window_over(tx, deadline.entity_id)


async def session_end(tx: Transaction, deadline: Deadline) -> None:
    """The session's time is up."""
    await sessions.end_due(tx, deadline.entity_id)


async def suspension_end(tx: Transaction, deadline: Deadline) -> None:
    """The session's mitra was suspended."""
    await sessions.end_for_suspension(tx, deadline.entity_id)
