"""A simulated device shows a snapshot and then applies events, as a client does (invariant 10)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from curhat.kit.database import Database
from curhat.kit.identity import Role

Shown = dict[str, Any]

# A client shows a payment that begins or continues a journey. It also goes on showing a payment whose search failed. An
# event about an older failed payment is about its decision or its refund, and changes nothing on the journey's screens.
OPEN_PAYMENT = ("pending", "confirming", "confirmed")
# In these statuses, an extension waits for the mitra's answer or for the gateway.
OPEN = ("pending", "charging")
# Fields that depend on the time of the read. No event updates these fields.
VOLATILE_FIELDS = ("server_now", "other_available")


class Device:
    """The state that one device shows.

    The methods of a device apply events in order, and assert that no event is missing.
    """

    def __init__(self, role: Role, user_id: UUID) -> None:
        self.role: Role = role
        self.user_id = user_id
        self.seq = 0
        self.has_snapshot = False
        self._shown: Shown = {}
        # Maps each chat's id to a map from message ids to messages. A device has the chats that ran at the time of its
        # snapshot or began later.
        self._chats: dict[str, Shown] = {}
        # Maps the id of each request to the mitra's card. The events of request cards do not belong to the stream.
        self._cards: Shown = {}

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
                self._chats.setdefault(data["id"], {})
            case "session.ended":
                self._shown["sessions"].pop(data["id"], None)
            case "extension.requested" | "extension.decided":
                self._apply_extension(data)
            case "message.created":
                self._apply_message(data)
            case "messages.read":
                self._apply_read_mark(data)

    def _apply_payment(self, payment: Any) -> None:
        if payment["purpose"] != "session":
            return
        current = self._shown["payment"]
        is_shown = current is not None and current["id"] == payment["id"]
        if payment["status"] in OPEN_PAYMENT or (is_shown and payment["status"] == "unserved"):
            self._shown["payment"] = payment
        elif is_shown:
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

    def _apply_message(self, message: Any) -> None:
        if message["session_id"] in self._chats:
            self._chats[message["session_id"]].setdefault(message["id"], message)

    def _apply_read_mark(self, mark: Any) -> None:
        for message in self._chats.get(mark["session_id"], {}).values():
            is_covered = message["sender"] != mark["reader"] and message["id"] <= mark["up_to_message_id"]
            if is_covered and message["read_at"] is None:
                message["read_at"] = mark["read_at"]

    def chats_to_read(self, written: Collection[UUID], sessions: Sequence[Any], *, fresh: bool) -> list[str]:
        """Return the chats whose messages the device must read.

        If `fresh` is true, the device takes the messages of the snapshot's chats. If `fresh` is false, the device
        compares the messages of its own chats.

        The argument `sessions` has the sessions of the snapshot. Chats outside `written` have no messages.
        """
        mine = [session["id"] for session in sessions] if fresh else list(self._chats)
        return [chat for chat in mine if UUID(chat) in written or self._chats.get(chat)]

    def compare_or_take_chats(
        self, histories: Mapping[str, Sequence[Any]], sessions: Sequence[Any], *, fresh: bool
    ) -> str | None:
        """Describe how the device's messages differ from these histories.

        If `fresh` is true, the device takes these messages, and the function returns None.
        """
        read = {chat: {message["id"]: message for message in history} for chat, history in histories.items()}
        if fresh:
            self._chats = {session["id"]: read.get(session["id"], {}) for session in sessions}
            return None
        for chat, messages in read.items():
            if messages != self._chats[chat]:
                return f"messages of {chat}\n  device   {self._chats[chat]}\n  history  {messages}"
        return None

    def apply_card(self, event: str, request: Any) -> None:
        """Apply an event about a mitra's request card."""
        if event == "request.offered":
            self._cards[request["id"]] = request
        elif event == "request.closed":
            self._cards.pop(request["id"], None)

    def take_cards(self, requests: Sequence[Any]) -> None:
        """Show the cards of a welcome, and no other cards."""
        self._cards = {request["id"]: request for request in requests}

    def compare_cards(self, requests: Sequence[Any]) -> str | None:
        """Describe how the device's cards differ from the open requests."""
        fresh = {request["id"]: request for request in requests}
        if _without_volatile_fields(fresh) == _without_volatile_fields(self._cards):
            return None
        return f"cards\n  device  {self._cards}\n  open    {fresh}"

    def compare_or_take(self, state: Any, *, fresh: bool) -> str | None:
        """Describe how the device differs from the snapshot `state`.

        If `fresh` is true or no field differs, show the snapshot and return None.
        """
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

    def sessions_of(self, state: Any) -> list[Any]:
        """Return the running sessions of a snapshot."""
        if self.role == "mitra":
            sessions: list[Any] = state["sessions"]
            return sessions
        return [state["session"]] if state["session"] else []

    def _shown_of(self, state: Any) -> Shown:
        sessions = self.sessions_of(state)
        if self.role == "customer":
            extensions = [state["extension"]] if state["extension"] else []
        else:
            extensions = state["extensions"]
        return {
            "payment": state.get("payment"),
            "sessions": {one["id"]: one for one in sessions},
            "extensions": {one["id"]: one for one in extensions},
        }


def _without_volatile_fields(shown: Any) -> Any:
    """Remove the fields that depend on the time of the read."""
    if isinstance(shown, dict):
        return {
            key: _without_volatile_fields(value) for key, value in shown.items() if key not in VOLATILE_FIELDS
        }
    return shown
