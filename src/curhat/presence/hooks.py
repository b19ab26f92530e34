"""What rooms above must do in the same transaction when the toggle moves. `app/wiring.py` fills the list."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from curhat.kit.database import Transaction

# Called with the transaction, the mitra and the new intent, while the mitra's row is locked, and only when
# the intent really changed. Raising refuses the change.
on_intent_changed: list[Callable[[Transaction, UUID, bool], Awaitable[None]]] = []
