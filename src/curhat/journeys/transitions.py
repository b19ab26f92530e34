"""The transition of each deadline kind. It runs in the transaction that claims the deadline.

If a transition needs the gateway, it arms its own next try in that transaction and returns the call. The worker makes
the call after the commit.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import BatchTransition, FollowUp, Transition
from curhat.journeys import charging, mitras, paying, renaming
from curhat.journeys.availability import others_available
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
    """The transition of every deadline kind, except those of push (journeys/push.py)."""

    def __init__(self, database: Database, presence: Presence, gateway: Gateway) -> None:
        self._database = database
        self._presence = presence
        self._gateway = gateway

    def by_kind(self) -> Mapping[str, Transition]:
        """Return the transition of each deadline kind."""
        return {
            payments.PAYMENT_EXPIRY: BatchTransition(expire_payments),
            payments.CHARGE_ANSWER: self._ask_about_charge,
            payments.REFUND_ANSWER: self._send_refund,
            pairing.PAIRING_WINDOW: BatchTransition(close_windows),
            pairing.TARGETED_WINDOW: BatchTransition(self._close_targeted),
            pairing.TARGETED_LOST: BatchTransition(self._close_targeted),
            pairing.FALLBACK_ANSWER: expire_fallback,
            extension.EXTENSION_WINDOW: BatchTransition(self._close_extension_windows),
            extension.EXTENSION_PRESENCE: BatchTransition(self._check_extension_presence),
            extension.EXTENSION_LOST: BatchTransition(lose_extensions),
            extension.EXTENSION_CHARGE: give_up_extension_charge,
            sessions.SESSION_END: BatchTransition(end_sessions),
            mitras.SUSPENSION_END: end_session_for_suspension,
            renaming.SESSION_RENAMED: tell_session,
            renaming.PAYMENT_RENAMED: self._tell_payment,
        }

    async def _ask_about_charge(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """An attempt has no recorded answer: query the gateway by its key, or send an extension's charge again."""
        question = await payments.ask_again(tx, deadline.entity_id, deadline.generation)
        if question is None:
            return None
        if question.send_again is not None:
            return self._charge(question.send_again)

        async def ask() -> None:
            await pause_point("charge_answer.before_ask")
            try:
                answer = await self._gateway.find_charge(question.key)
            except GatewayUnknown:
                return
            await pause_point("charge_answer.asked")
            await charging.record_charge_answer(self._database, self._presence, question.key, answer)

        return ask

    def _charge(self, attempt: Charge) -> FollowUp:
        return partial(charging.charge, self._database, self._presence, self._gateway, attempt)

    async def _close_targeted(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """The windows of chosen mitras are over (4.3), or the mitras went away (4.4).

        Asks presence before it takes any lock.
        """
        pairing_ids = [deadline.entity_id for deadline in due]
        targets = await pairing.targets_of(tx, pairing_ids)
        available = await asyncio.gather(
            *(others_available(self._presence, *target) for target in targets.values())
        )
        promised = {pairing_id for pairing_id, yes in zip(targets, available, strict=True) if yes}
        await pairing.targeted_over(tx, pairing_ids, promised)

    async def _close_extension_windows(
        self, tx: Transaction, due: Sequence[Deadline]
    ) -> Mapping[UUID, FollowUp]:
        """The mitras did not answer in time (5.1). Unknown presence counts as disconnected (5.6)."""
        extension_ids = [deadline.entity_id for deadline in due]
        connected = await self._connected_mitras(await extension.mitras_of(tx, extension_ids)) or ()
        charges = await extension.window_over(tx, extension_ids, connected)
        return {extension_id: self._charge(attempt) for extension_id, attempt in charges.items()}

    async def _check_extension_presence(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """The time to reconnect is over for these mitras (5.6).

        If presence is unknown, the extension's window decides.
        """
        mitra_ids = await extension.mitras_of(tx, [deadline.entity_id for deadline in due])
        connected = await self._connected_mitras(mitra_ids)
        if connected is not None:
            lost = [extension_id for extension_id, mitra_id in mitra_ids.items() if mitra_id not in connected]
            await extension.mitra_lost(tx, lost)

    async def _connected_mitras(self, mitra_ids: Mapping[UUID, UUID]) -> set[UUID] | None:
        """Return which of the mitras, given by extension, are connected now. Return None if presence is unknown."""
        try:
            return await self._presence.connected_among(list(set(mitra_ids.values())))
        except PresenceUnknown:
            return None

    async def _tell_payment(self, tx: Transaction, deadline: Deadline) -> None:
        """The mitra whom a payment is for has a new name."""
        await renaming.tell_payment(tx, self._presence, deadline.entity_id)

    async def _send_refund(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """A refund has no answer yet: send it under its key until it has an answer."""
        refund = await payments.refund_to_carry_out(tx, deadline.entity_id, deadline.generation)
        if refund is None:
            return None

        async def send() -> None:
            await pause_point("refund.before_call")
            try:
                answer = await self._gateway.refund(
                    refund.key, refund.charge_key, refund.payment_id, refund.amount_rp
                )
            except GatewayUnknown:
                return
            await pause_point("refund.after_call")
            async with self._database.transaction() as own:
                await charging.refund_answered(own, refund.key, answer)

        return send


async def expire_payments(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The time to pay is over (2a.5)."""
    await paying.expire_payments(tx, *(deadline.entity_id for deadline in due))


async def close_windows(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The windows to accept are over (2b.3)."""
    await pairing.window_over(tx, *(deadline.entity_id for deadline in due))


async def expire_fallback(tx: Transaction, deadline: Deadline) -> None:
    """The time to answer about the fallback is over (3.8)."""
    await pairing.fallback_unanswered(tx, deadline.entity_id)


async def lose_extensions(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The mitras switched to offline while their extensions were pending (5.6)."""
    await extension.mitra_lost(tx, [deadline.entity_id for deadline in due])


async def give_up_extension_charge(tx: Transaction, deadline: Deadline) -> None:
    """The gateway's time to approve an extension's charge is over (5.7)."""
    await extension.charge_too_late(tx, deadline.entity_id)


async def end_sessions(tx: Transaction, due: Sequence[Deadline]) -> None:
    """The sessions' time is up."""
    generations = {deadline.entity_id: deadline.generation for deadline in due}
    await sessions.end_due(tx, *generations, generations=generations)


async def tell_session(tx: Transaction, deadline: Deadline) -> None:
    """The session's mitra has a new name."""
    await renaming.tell_session(tx, deadline.entity_id)


async def end_session_for_suspension(tx: Transaction, deadline: Deadline) -> None:
    """The session's mitra was suspended."""
    await sessions.end_for_suspension(tx, deadline.entity_id)
