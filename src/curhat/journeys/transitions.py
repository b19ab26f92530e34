"""What happens when a deadline comes due: one transition a kind, run in the transaction of its claim.

A transition that needs the outside (gateway) arms its own next try in that transaction, and returns the call to be
made after the commit.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import BatchTransition, FollowUp, Transition
from curhat.journeys import service as journeys
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import Gateway, GatewayUnknown
from curhat.payments.service import Charge
from curhat.presence.service import Presence
from curhat.sessions import extension
from curhat.sessions import service as sessions


class Transitions:
    """Every deadline kind, and what it does."""

    def __init__(self, database: Database, presence: Presence, gateway: Gateway) -> None:
        self._database = database
        self._presence = presence
        self._gateway = gateway

    def by_kind(self) -> Mapping[str, Transition]:
        """The transition of each deadline kind."""
        return {
            payments.PAYMENT_EXPIRY: BatchTransition(payment_expiry),
            payments.CHARGE_ANSWER: self._charge_answer,
            payments.REFUND_ANSWER: self._refund_answer,
            pairing.PAIRING_WINDOW: BatchTransition(pairing_window),
            pairing.TARGETED_WINDOW: BatchTransition(self._targeted_over),
            pairing.TARGETED_LOST: BatchTransition(self._targeted_over),
            pairing.FALLBACK_ANSWER: fallback_answer,
            extension.EXTENSION_WINDOW: BatchTransition(self._extension_window),
            extension.EXTENSION_PRESENCE: BatchTransition(self._extension_presence),
            extension.EXTENSION_LOST: BatchTransition(extension_lost),
            extension.EXTENSION_CHARGE: extension_charge,
            sessions.SESSION_END: BatchTransition(session_end),
            journeys.SUSPENSION_END: suspension_end,
            journeys.SESSION_RENAMED: session_renamed,
            journeys.PAYMENT_RENAMED: self._payment_renamed,
        }

    async def _charge_answer(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Nobody recorded an answer: ask the gateway by the attempt's key, again and again, later each time."""
        question = await payments.ask_again(tx, deadline.entity_id, deadline.generation)
        if question is None:
            return None
        if question.send_again is not None:
            return self._carry_out(question.send_again)

        async def ask() -> None:
            await pause_point("charge_answer.before_ask")
            try:
                answer = await self._gateway.find_charge(question.key)
            except GatewayUnknown:
                return
            await pause_point("charge_answer.asked")
            await journeys.take_charge_answer(self._database, self._presence, question.key, answer)

        return ask

    def _carry_out(self, charge: Charge) -> FollowUp:
        """Charge, and record the answer; without one, `charge_answer` goes on."""

        async def carry_out() -> None:
            answer = await journeys.carry_out(self._gateway, charge)
            if answer is not None:
                await journeys.take_charge_answer(self._database, self._presence, charge.key, answer)

        return carry_out

    async def _targeted_over(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """Chosen mitras' windows are over (4.3), or they went away meanwhile (4.4). Presence is asked before a lock."""
        pairing_ids = [deadline.entity_id for deadline in due]
        targets = await pairing.targets_of(tx, pairing_ids)
        available = await asyncio.gather(
            *(journeys.others_available(self._presence, *target) for target in targets.values())
        )
        promised = {pairing_id for pairing_id, yes in zip(targets, available, strict=True) if yes}
        await pairing.targeted_over(tx, pairing_ids, promised)

    async def _extension_window(self, tx: Transaction, due: Sequence[Deadline]) -> Mapping[UUID, FollowUp]:
        """Nobody answered in time (5.1). Unknown presence counts as disconnected (5.6)."""
        extension_ids = [deadline.entity_id for deadline in due]
        connected = await self._connected_mitras(await extension.mitras_of(tx, extension_ids)) or ()
        charges = await extension.window_over(tx, extension_ids, connected)
        return {extension_id: self._carry_out(charge) for extension_id, charge in charges.items()}

    async def _extension_presence(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """Sockets closed, and had their time to come back (5.6). Unknown: the deadline decides."""
        mitras = await extension.mitras_of(tx, [deadline.entity_id for deadline in due])
        connected = await self._connected_mitras(mitras)
        if connected is not None:
            lost = [extension_id for extension_id, mitra_id in mitras.items() if mitra_id not in connected]
            await extension.mitra_lost(tx, lost)

    async def _connected_mitras(self, mitras: Mapping[UUID, UUID]) -> set[UUID] | None:
        """Those of the mitras, given by extension, who are connected now. None: presence is unknown."""
        try:
            return await self._presence.connected_among(list(set(mitras.values())))
        except PresenceUnknown:
            return None

    async def _payment_renamed(self, tx: Transaction, deadline: Deadline) -> None:
        """The mitra whom a payment is for has another name."""
        await journeys.tell_payment(tx, self._presence, deadline.entity_id)

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


async def payment_expiry(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The time to pay is over (2a.5)."""
    await journeys.expire_payments(tx, *(deadline.entity_id for deadline in due))


async def pairing_window(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The windows to accept are over (2b.3)."""
    await pairing.window_over(tx, *(deadline.entity_id for deadline in due))


async def fallback_answer(tx: Transaction, deadline: Deadline) -> None:
    """The time to say whether another mitra will do is over (3.8)."""
    await pairing.fallback_unanswered(tx, deadline.entity_id)


async def extension_lost(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The mitras' toggles went off while extensions waited for their answers (5.6)."""
    await extension.mitra_lost(tx, [deadline.entity_id for deadline in due])


async def extension_charge(tx: Transaction, deadline: Deadline) -> None:
    """The gateway had its time to approve an extension's charge (5.7)."""
    await extension.charge_too_late(tx, deadline.entity_id)


async def session_end(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The sessions' time is up."""
    generations = {deadline.entity_id: deadline.generation for deadline in due}
    await sessions.end_due(tx, *generations, generations=generations)


async def session_renamed(tx: Transaction, deadline: Deadline) -> None:
    """The session's mitra has another name."""
    await journeys.tell_session(tx, deadline.entity_id)


async def suspension_end(tx: Transaction, deadline: Deadline) -> None:
    """The session's mitra was suspended."""
    await sessions.end_for_suspension(tx, deadline.entity_id)
