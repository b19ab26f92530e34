"""A person's device: it shows a snapshot and then applies events, as a client does (invariant 10)."""

from typing import Any
from uuid import UUID

import msgspec

from curhat.kit.database import Database
from curhat.kit.identity import Role

Shown = dict[str, Any]

# The statuses of a payment that a client shows.
KEPT = ("pending", "confirming", "confirmed", "unserved")
# The statuses of an extension that waits for its answer or for the gateway.
OPEN = ("pending", "charging")
# Fields that describe the moment of reading. No event updates these fields.
VOLATILE_FIELDS = ("server_now", "other_available")


class Device:
    """The state that one device shows. The methods apply events in order and assert that no event is missing."""

    def __init__(self, role: Role, user_id: UUID) -> None:
        self.role: Role = role
        self.user_id = user_id
        self.seq = 0
        self.has_snapshot = False
        self._shown: Shown = {}

    async def apply_missed(self, database: Database) -> None:
        """Apply the stored events that follow the last applied event."""
        rows = await database.fetch(
            "SELECT seq, type, data FROM stream_events WHERE role = $1 AND user_id = $2 AND seq > $3 ORDER BY seq",
            self.role,
            self.user_id,
            self.seq,
        )
        for row in rows:
            assert row["seq"] == self.seq + 1, f"the stream jumps from {self.seq} to {row['seq']}"
            self.seq = row["seq"]
            self._apply(row["type"], msgspec.json.decode(row["data"]))

    def _apply(self, event: str, data: Any) -> None:
        match event:
            case "payment.updated":
                self._apply_payment(data)
            case "pairing.updated":
                self._apply_pairing(data)
            case "session.started" | "session.updated":
                self._shown["sessions"][data["id"]] = data
            case "session.ended":
                self._shown["sessions"].pop(data["id"], None)
            case "extension.requested" | "extension.decided":
                self._apply_extension(data)

    def _apply_payment(self, payment: Any) -> None:
        current = self._shown["payment"]
        if payment["status"] in KEPT:
            self._shown["payment"] = payment
        elif current is not None and current["id"] <= payment["id"]:
            self._shown["payment"] = None

    def _apply_pairing(self, pairing: Any) -> None:
        payment = self._shown["payment"]
        if payment is not None and payment["id"] == pairing["payment_id"]:
            self._shown["payment"] = {**payment, "pairing": pairing}

    def _apply_extension(self, extension: Any) -> None:
        if extension["status"] in OPEN:
            self._shown["extensions"][extension["id"]] = extension
        else:
            self._shown["extensions"].pop(extension["id"], None)
        session = self._shown["sessions"].get(extension["session_id"])
        if session is not None:
            self._shown["sessions"][session["id"]] = {**session, "extension": extension}

    def compare_or_take(self, snapshot: msgspec.Struct, *, fresh: bool) -> str | None:
        """Describe how the device differs from the snapshot. If nothing differs, or with `fresh`, show the snapshot
        and return None.
        """
        state = msgspec.json.decode(msgspec.json.encode(snapshot))
        seq = state["stream"]["seq"]
        theirs = self._shown_of(state)
        if not fresh and (
            seq != self.seq or _without_volatile_fields(theirs) != _without_volatile_fields(self._shown)
        ):
            return f"seq {self.seq} against {seq}\n  device   {self._shown}\n  snapshot {theirs}"
        self._shown = theirs
        self.seq = seq
        self.has_snapshot = True
        return None

    def _shown_of(self, state: Any) -> Shown:
        if self.role == "customer":
            sessions = [state["session"]] if state["session"] else []
            extensions = [state["extension"]] if state["extension"] else []
        else:
            sessions, extensions = state["sessions"], state["extensions"]
        return {
            "payment": state.get("payment"),
            "sessions": {one["id"]: one for one in sessions},
            "extensions": {one["id"]: one for one in extensions},
        }


def _without_volatile_fields(shown: Any) -> Any:
    """Remove the fields that describe the moment of reading."""
    if isinstance(shown, dict):
        return {
            key: _without_volatile_fields(value) for key, value in shown.items() if key not in VOLATILE_FIELDS
        }
    return shown
