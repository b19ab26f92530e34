"""A person's device: a snapshot, and the events after it, reduced to what a client shows (invariant 10)."""

from typing import Any
from uuid import UUID

import msgspec

from curhat.kit.database import Database
from curhat.kit.identity import Role

Shown = dict[str, Any]

# A payment in one of these is what a customer comes back to.
KEPT = ("pending", "confirming", "confirmed", "unserved")


class Device:
    """What one device shows. It applies events in order, and notices a gap."""

    def __init__(self, role: Role, user_id: UUID) -> None:
        self.role: Role = role
        self.user_id = user_id
        self.seq = 0
        self.has_snapshot = False
        self._shown: Shown = {}

    async def apply_missed(self, database: Database) -> None:
        """Apply the stored events after the last one applied."""
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
            case "session.started" | "session.updated":
                self._shown["sessions"][data["id"]] = data
            case "session.ended":
                self._shown["sessions"].pop(data["id"], None)

    def _apply_payment(self, payment: Any) -> None:
        current = self._shown["payment"]
        if payment["status"] in KEPT:
            self._shown["payment"] = payment
        elif current is not None and current["id"] <= payment["id"]:
            self._shown["payment"] = None

    def compare_or_take(self, snapshot: msgspec.Struct, *, fresh: bool) -> str | None:
        """Take a snapshot, or say in what it differs from what is shown."""
        state = msgspec.json.decode(msgspec.json.encode(snapshot))
        seq = state["stream"]["seq"]
        theirs = self._what_is_shown(state)
        if not fresh and (seq != self.seq or _timeless(theirs) != _timeless(self._shown)):
            return f"seq {self.seq} against {seq}\n  device   {self._shown}\n  snapshot {theirs}"
        self._shown = theirs
        self.seq = seq
        self.has_snapshot = True
        return None

    def _what_is_shown(self, state: Any) -> Shown:
        if self.role == "customer":
            sessions = [state["session"]] if state["session"] else []
            return {"payment": state["payment"], "sessions": {one["id"]: one for one in sessions}}
        return {"payment": None, "sessions": {one["id"]: one for one in state["sessions"]}}


def _timeless(shown: Any) -> Any:
    """Without `server_now`, which is never twice the same."""
    if isinstance(shown, dict):
        return {key: _timeless(value) for key, value in shown.items() if key != "server_now"}
    return shown
