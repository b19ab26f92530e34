"""Sends a new name to everybody who sees the old name. Functions that take a transaction never commit it."""

from uuid import UUID

from curhat.accounts import service as accounts
from curhat.journeys import queries
from curhat.journeys.availability import others_available
from curhat.kit.database import Transaction
from curhat.pairing import views
from curhat.payments import service as payments
from curhat.presence.service import Presence
from curhat.realtime import service as realtime
from curhat.safety.blocks import service as blocks
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.events import SESSION_UPDATED, views_to_both

# Deadlines of these kinds fire after the mitra of a session, or the chosen mitra of a payment, was renamed.
SESSION_RENAMED = "session_renamed"
PAYMENT_RENAMED = "payment_renamed"


async def rename_customer(tx: Transaction, customer_id: UUID, call_name: str) -> None:
    """Change the call name. If the customer has a running session, tell its mitra. Raises ValidationFailed."""
    await accounts.rename_customer(tx, customer_id, call_name)
    session_id = await queries.find_running_session(tx, customer_id=customer_id)
    if session_id is not None:
        await tell_session(tx, session_id)


async def tell_session(tx: Transaction, session_id: UUID) -> None:
    """Send the current state of an active session to both sides.

    `tell_session` locks the session first. Without the lock, the event of the new name could come after the event of
    the session's end. If the session's time is up, but no worker has ended the session yet, a snapshot still shows the
    session. So the new name needs an event then, too.
    """
    await extension.lock_session(tx, session_id)
    updated = await sessions.session_views(tx, session_id)
    if updated.for_mitra.status == "active":
        await realtime.append(tx, views_to_both(SESSION_UPDATED, updated))


async def tell_payment(tx: Transaction, payment_id: UUID, presence: Presence) -> None:
    """Send the customer the current state of a payment with a chosen mitra.

    `tell_payment` asks presence before locking the payment.
    """
    people = await queries.find_people_of_targeted_payment(tx, payment_id=payment_id)
    blocked = await blocks.blocked_mitras(tx, people.customer_id)
    available = await others_available(presence, people.customer_id, people.target_mitra_id, *blocked)
    await payments.lock(tx, payment_id)
    others = [payment_id] if available else []
    await realtime.append(tx, await views.payment_events(tx, payment_id, other_available=others))
