"""The picture of a client: a snapshot to which the client has applied each later event.

A picture must equal a fresh snapshot that contains the same events.
This module knows only what the contract says. Like a client, this module imports nothing from the server.
"""

from collections.abc import Mapping
from typing import Any

Data = dict[str, Any]

# A client shows every open payment, and every payment that was charged but led to no session.
SHOWN_PAYMENTS = frozenset({"pending", "confirming", "confirmed", "unserved"})
# The states of an extension without a final decision.
OPEN_EXTENSIONS = frozenset({"pending", "charging"})
# Fields that change without an event: the time, and whether another mitra is available. Do not compare them.
VOLATILE_FIELDS = frozenset({"server_now", "other_available"})


def without_volatile_fields(value: Any) -> Any:
    """Return a copy of the value without its volatile fields."""
    if isinstance(value, dict):
        return {
            key: without_volatile_fields(part) for key, part in value.items() if key not in VOLATILE_FIELDS
        }
    if isinstance(value, list):
        return [without_volatile_fields(part) for part in value]
    return value


class Picture:
    """The view of a client, for both roles.

    The picture keeps a chat if it has the chat's first message, or if the client has read the chat's history.
    """

    def __init__(self) -> None:
        self.chats: dict[str, dict[str, Data]] = {}

    def restore(self, snapshot: Data) -> None:
        """Replace the picture by a snapshot."""
        raise NotImplementedError

    def apply(self, event_type: str, data: Data) -> None:
        """Apply one event."""
        raise NotImplementedError

    def running(self) -> Mapping[str, Data]:
        """A map from the id of each running session to the session."""
        raise NotImplementedError

    def streamed(self) -> Data:
        """The parts of the picture that only events of the stream change."""
        raise NotImplementedError

    def unstreamed(self) -> Data:
        """The parts of the picture that change without an event of the stream."""
        return {}

    def differences(self, snapshot: Data) -> set[str]:
        """Compare the streamed parts with a snapshot that has the seq of the picture. Every difference is an error."""
        return _differences(self.streamed(), snapshot)

    def transient_differences(self, snapshot: Data) -> set[str]:
        """Compare the unstreamed parts with a snapshot. These parts can differ for a moment, but not for long."""
        return _differences(self.unstreamed(), snapshot)

    def remember_chat(self, session_id: str, messages: list[Data]) -> None:
        """Replace the messages of a chat by the chat's history."""
        self.chats[session_id] = {message["id"]: message for message in messages}

    def chat_differences(self, session_id: str, history: list[Data]) -> set[str]:
        """Return how this client's messages differ from the server's.

        This method needs the whole chat in the client.
        """
        if session_id not in self.chats:
            return set()
        return _differences({"message": list(self.chats[session_id].values())}, {"message": history})

    def message_ids(self, session_id: str, sender: str) -> list[str]:
        """Return the ids of the messages that one side sent in a chat, oldest first."""
        chat = self.chats.get(session_id, {})
        return sorted(message["id"] for message in chat.values() if message["sender"] == sender)

    def _apply_to_chats(self, event_type: str, data: Data) -> None:
        match event_type:
            case "session.started":
                self.chats.setdefault(data["id"], {})
            case "message.created":
                if data["session_id"] in self.chats:
                    self.chats[data["session_id"]].setdefault(data["id"], dict(data))
            case "messages.read":
                for message in self.chats.get(data["session_id"], {}).values():
                    if (
                        message["sender"] != data["reader"]
                        and message["id"] <= data["up_to_message_id"]
                        and message["read_at"] is None
                    ):
                        message["read_at"] = data["read_at"]


class CustomerPicture(Picture):
    """The picture of a customer's client."""

    def __init__(self) -> None:
        super().__init__()
        self.payment: Data | None = None
        self.session: Data | None = None
        self.extension: Data | None = None
        self._latest_payment_id = ""

    def restore(self, snapshot: Data) -> None:
        self.chats = {}
        self.payment = snapshot["payment"]
        self.session = snapshot["session"]
        self.extension = snapshot["extension"]
        self._latest_payment_id = "" if self.payment is None else self.payment["id"]

    def apply(self, event_type: str, data: Data) -> None:
        self._apply_to_chats(event_type, data)
        match event_type:
            case "payment.updated":
                # Ids grow with time. Ignore an event of a payment that is older than the latest known payment.
                if data["purpose"] == "session" and data["id"] >= self._latest_payment_id:
                    self._latest_payment_id = data["id"]
                    self.payment = data if data["status"] in SHOWN_PAYMENTS else None
            case "pairing.updated":
                if self.payment is not None and self.payment["id"] == data["payment_id"]:
                    self.payment = {**self.payment, "pairing": data}
            case "session.started" | "session.updated":
                self.session = data
            case "session.ended":
                if self.session is not None and self.session["id"] == data["id"]:
                    self.session = self.extension = None
            case "extension.requested" | "extension.decided":
                if self.session is not None and self.session["id"] == data["session_id"]:
                    self.session = {**self.session, "extension": data}
                    self.extension = data if data["status"] in OPEN_EXTENSIONS else None

    def running(self) -> Mapping[str, Data]:
        return {} if self.session is None else {self.session["id"]: self.session}

    def streamed(self) -> Data:
        return {
            "payment": self.payment,
            "pairing": None if self.payment is None else self.payment["pairing"],
            "session": self.session,
            "extension": self.extension,
        }


class MitraPicture(Picture):
    """The picture of a mitra's client. The server sends cards and presence outside of the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, Data] = {}
        self.extensions: dict[str, Data] = {}
        self.cards: dict[str, Data] = {}
        self.presence: Data = {}

    def restore(self, snapshot: Data) -> None:
        self.chats = {}
        self.sessions = {session["id"]: session for session in snapshot["sessions"]}
        self.extensions = {extension["id"]: extension for extension in snapshot["extensions"]}
        self.presence = snapshot["presence"]
        self.show_cards(snapshot["requests"])

    def show_cards(self, requests: list[Data]) -> None:
        """Replace all cards, as each welcome and each snapshot does."""
        self.cards = {request["id"]: request for request in requests}

    def apply(self, event_type: str, data: Data) -> None:
        self._apply_to_chats(event_type, data)
        match event_type:
            case "session.started" | "session.updated":
                self.sessions[data["id"]] = data
            case "session.ended":
                self.sessions.pop(data["id"], None)
            case "extension.requested" | "extension.decided":
                if data["session_id"] in self.sessions:
                    session = self.sessions[data["session_id"]]
                    self.sessions[data["session_id"]] = {**session, "extension": data}
                self.extensions.pop(data["id"], None)
                if data["status"] in OPEN_EXTENSIONS:
                    self.extensions[data["id"]] = data
            case "request.offered":
                self.cards[data["id"]] = data
            case "request.closed":
                self.cards.pop(data["id"], None)
            case "presence.changed":
                self.presence = data

    def running(self) -> Mapping[str, Data]:
        return self.sessions

    def streamed(self) -> Data:
        return {"sessions": list(self.sessions.values()), "extensions": list(self.extensions.values())}

    def unstreamed(self) -> Data:
        return {"requests": list(self.cards.values()), "presence": self.presence}


def _differences(shown: Data, fresh: Data) -> set[str]:
    """Return one sentence for each part that differs.

    For a list, return one sentence for each member that differs.
    """
    differences = set()
    for name, part in shown.items():
        ours, theirs = _members(name, part), _members(name, fresh[name])
        for member in ours.keys() | theirs.keys():
            if ours.get(member) != theirs.get(member):
                differences.add(f"{member}: {_difference(ours.get(member), theirs.get(member))}")
    return differences


def _difference(ours: Any, theirs: Any) -> str:
    """Return our value and their value of each field that differs.

    If `ours` or `theirs` is not an object, return the two whole values.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        fields = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        return ", ".join(f"{key} is shown as {ours.get(key)!r}, is {theirs.get(key)!r}" for key in fields)
    return f"is shown as {ours!r}, is {theirs!r}"


def _members(name: str, part: Any) -> Data:
    if isinstance(part, list):
        return {f"{name} {member['id']}": without_volatile_fields(member) for member in part}
    return {name: without_volatile_fields(part)}
