"""The transitions of the deadline kinds. A transition runs in the transaction that claims its deadline.

If a transition needs the gateway, the transition returns the call, and the worker makes the call after the commit. In
the same transaction, the transition arms a deadline for the next try of the call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import BatchTransition, FollowUp, Transition
from curhat.journeys import charging, mitras, paying, renaming, suspensions
from curhat.journeys.availability import candidates_or_none, or_none, others_available
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import Gateway, GatewayUnknown
from curhat.payments.service import Charge
from curhat.presence.service import Presence
from curhat.safety.blocks import service as blocks
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.extension import Frames

# If asking presence takes longer than MAX_LOOK_SECONDS, presence counts as unknown, because the worker was perhaps
# stopped while it asked.
MAX_LOOK_SECONDS = 1.0


class Transitions:
    """The transition of every deadline kind, except those of push (journeys/push.py)."""

    def __init__(self, database: Database, presence: Presence, gateway: Gateway) -> None:
        self._database = database
        self._presence = presence
        self._gateway = gateway

    def by_kind(self) -> Mapping[str, Transition]:
        """Return the transition of each deadline kind."""
        return {
            payments.PAYMENT_EXPIRY: _for_entities(paying.expire_payments),
            payments.CHARGE_ANSWER: self._ask_about_charge,
            payments.REFUND_ANSWER: self._send_refund,
            pairing.PAIRING_WINDOW: _for_entities(pairing.window_over),
            pairing.BLAST_WAVE: BatchTransition(self._ask_waves),
            pairing.CLOSE_LOSERS: _for_entities(pairing.close_losers),
            pairing.TARGETED_WINDOW: BatchTransition(self._close_targeted),
            pairing.TARGETED_LOST: BatchTransition(self._close_targeted),
            pairing.FALLBACK_ANSWER: _for_entity(pairing.fallback_unanswered),
            extension.EXTENSION_WINDOW: BatchTransition(self._close_extension_windows),
            extension.EXTENSION_PRESENCE: BatchTransition(self._check_extension_presence),
            extension.EXTENSION_LOST: _for_entities(extension.mitra_lost),
            extension.EXTENSION_CHARGE: _for_entity(extension.charge_too_late),
            sessions.SESSION_END: BatchTransition(end_sessions),
            mitras.SUSPENSION_END: _for_entity(sessions.end_for_suspension),
            suspensions.SUSPENSION_OVER: _for_entity(suspensions.suspension_over),
            renaming.SESSION_RENAMED: _for_entity(renaming.tell_session),
            renaming.PAYMENT_RENAMED: _for_entity(partial(renaming.tell_payment, presence=self._presence)),
        }

    async def _ask_about_charge(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Query the gateway about an attempt that has no answer yet, and give the attempt up in time (2a.10).

        If the attempt is for an extension that can still be charged, send the charge again under the same key.
        """
        key = deadline.entity_id
        await charging.give_up_charge(tx, key)
        step = await payments.ask_again(tx, key, deadline.generation)
        if step is None:
            return None
        if isinstance(step, Charge):
            return self._charge(step)

        async def ask() -> None:
            await pause_point("charge_answer.before_ask")
            try:
                answer = await self._gateway.find_charge(key)
            except GatewayUnknown:
                return
            await pause_point("charge_answer.asked")
            await charging.record_charge_answer(self._database, self._presence, key, answer)

        return ask

    def _charge(self, attempt: Charge) -> FollowUp:
        return partial(charging.charge, self._database, self._presence, self._gateway, attempt)

    async def _ask_waves(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """Ask the next wave of each blast (2b.6). `_ask_waves` asks presence before taking any lock."""
        blast_ids = await pairing.filter_open_blasts(tx, [deadline.entity_id for deadline in due])
        if blast_ids:
            candidates = await candidates_or_none(self._presence)
            await pairing.ask_waves(tx, blast_ids, candidates)

    async def _close_targeted(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """Fail targeted pairings whose windows ended (4.3), or whose mitras went away (4.4).

        `_close_targeted` asks presence before taking any lock.
        """
        pairing_ids = [deadline.entity_id for deadline in due]
        targets = await pairing.targets_of(tx, pairing_ids)
        blocked = await blocks.blocked_mitras_of_each(
            tx, [customer_id for _, customer_id in targets.values()]
        )
        available = await asyncio.gather(
            *(
                others_available(self._presence, mitra_id, customer_id, *blocked[customer_id])
                for mitra_id, customer_id in targets.values()
            )
        )
        promised = {pairing_id for pairing_id, yes in zip(targets, available, strict=True) if yes}
        await pairing.targeted_over(tx, pairing_ids, promised)

    async def _close_extension_windows(
        self, tx: Transaction, due: Sequence[Deadline]
    ) -> Mapping[UUID, FollowUp]:
        """Decide the extensions that the mitras did not answer in time (5.1).

        If presence is unknown, treat the mitras as disconnected (5.6).
        """
        extension_ids = [deadline.entity_id for deadline in due]
        mitra_ids = set((await extension.mitras_of(tx, extension_ids)).values())
        # Presence answers between `before` and `after`. The worker can be stopped between these statements. Because
        # `frames` uses both times, a frame after the deadline never counts as a frame before the deadline.
        before = await read_clock(tx)
        ages = await or_none(self._presence.frame_ages(list(mitra_ids))) or {}
        after = await read_clock(tx)
        if after - before > timedelta(seconds=MAX_LOOK_SECONDS):
            ages = {}
        frames = {
            mitra_id: [
                Frames(
                    last_at=before - timedelta(seconds=each.last_frame),
                    heard_since=after - timedelta(seconds=each.heard_since),
                    present_since=before - timedelta(seconds=each.present_since),
                )
                for each in connections
            ]
            for mitra_id, connections in ages.items()
        }
        charges = await extension.window_over(tx, extension_ids, frames)
        return {extension_id: self._charge(attempt) for extension_id, attempt in charges.items()}

    async def _check_extension_presence(self, tx: Transaction, due: Sequence[Deadline]) -> None:
        """Reject the extensions of mitras who have not reconnected in time (5.6).

        If presence is unknown, do nothing. The deadline of the extension's window then decides. If this check is late
        or never happens, the transition of the window still notices a mitra who came back too late.
        """
        mitra_ids = await extension.mitras_of(tx, [deadline.entity_id for deadline in due])
        connected = await self._connected_mitras(mitra_ids)
        if connected is not None:
            lost = [extension_id for extension_id, mitra_id in mitra_ids.items() if mitra_id not in connected]
            await extension.mitra_lost(tx, *lost)

    async def _connected_mitras(self, mitra_ids: Mapping[UUID, UUID]) -> set[UUID] | None:
        """Return the mitras who are connected now. Return None if presence is unknown.

        `mitra_ids` is a map from each extension's id to the id of its mitra.
        """
        return await or_none(self._presence.connected_among(list(set(mitra_ids.values()))))

    async def _send_refund(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Send a refund under the refund's key. The worker repeats this step until the gateway answers.

        If the gateway refused an earlier refund of the same charge, ask about that refund first. Perhaps the gateway
        carried out the refused refund after all. A new refund would then pay the customer twice.
        """
        refund = await payments.refund_to_carry_out(tx, deadline.entity_id, deadline.generation)
        if refund is None:
            return None

        async def send() -> None:
            await pause_point("refund.before_call")
            try:
                for refused_key in refund.refused_keys:
                    earlier = await self._gateway.find_refund(refused_key)
                    if earlier.status == "done":
                        await charging.record_refund_answer(self._database, refused_key, earlier)
                    if earlier.status in ("done", "processing"):
                        return
                answer = await self._gateway.refund(
                    refund.key, refund.charge_key, refund.payment_id, refund.amount_rp
                )
            except GatewayUnknown:
                return
            await pause_point("refund.after_call")
            await charging.record_refund_answer(self._database, refund.key, answer)

        return send


async def end_sessions(tx: Transaction, due: Sequence[Deadline]) -> None:
    """End the sessions whose time is over."""
    await sessions.end_due(tx, {deadline.entity_id: deadline.generation for deadline in due})


def _for_entity(step: Callable[[Transaction, UUID], Awaitable[object]]) -> Transition:
    """Return a transition that calls `step` with the entity id of the deadline."""

    async def transition(tx: Transaction, deadline: Deadline) -> None:
        await step(tx, deadline.entity_id)

    return transition


def _for_entities(step: Callable[[Transaction, *tuple[UUID, ...]], Awaitable[object]]) -> BatchTransition:
    """Return a batch transition that calls `step` once, with the entity ids of all deadlines."""

    async def transition(tx: Transaction, due: Sequence[Deadline]) -> None:
        await step(tx, *(deadline.entity_id for deadline in due))

    return BatchTransition(transition)
