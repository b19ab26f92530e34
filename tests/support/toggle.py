"""Sets a mitra's toggle as the product does."""

from uuid import UUID

from curhat.journeys import mitras
from curhat.kit.database import Transaction
from curhat.presence import service as presence


async def set_toggle(tx: Transaction, mitra_id: UUID, *, online: bool) -> None:
    """Set the toggle, and run all steps that must follow when a mitra goes offline."""
    await presence.set_intent(tx, mitra_id, online, mitras.intent_changed)
