"""What a client shows: begun from a snapshot, moved on by events. After the same events it equals a fresh snapshot.

Written from the contract alone, as a client's developer would: nothing of the server is used here.
"""

from collections.abc import Mapping
from typing import Any

Data = dict[str, Any]

# A payment is shown while it is open, and when it was taken without a session. In every other state it is over.
SHOWN_PAYMENTS = frozenset({"pending", "confirming", "confirmed", "unserved"})
# An extension is waited for in these; in every other state it is over.
OPEN_EXTENSIONS = frozenset({"pending", "charging"})
# What is true of the moment of looking, and has no place in the stream: the time, and who else is there just then.
OF_THE_MOMENT = frozenset({"server_now", "other_available"})


def without_the_moment(value: Any) -> Any:
    """The same, without what is true only of the moment at which it was looked at."""
    if isinstance(value, dict):
        return {key: without_the_moment(part) for key, part in value.items() if key not in OF_THE_MOMENT}
    if isinstance(value, list):
        return [without_the_moment(part) for part in value]
    return value


class Picture:
    """What both roles show: chats. A chat is kept from its beginning, or from a reading of its history."""

    def __init__(self) -> None:
        self.chats: dict[str, dict[str, Data]] = {}

    def restore(self, snapshot: Data) -> None:
        """Begin anew from a snapshot."""
        raise NotImplementedError

    def apply(self, event_type: str, data: Data) -> None:
        """Move on by one event of the stream."""
        raise NotImplementedError

    def running(self) -> Mapping[str, Data]:
        """The running sessions by id."""
        raise NotImplementedError

    def streamed(self) -> Data:
        """The parts of a snapshot that follow from the stream."""
        raise NotImplementedError

    def unstreamed(self) -> Data:
        """The parts of a snapshot that are told without a place in the stream."""
        return {}

    def differences(self, snapshot: Data) -> set[str]:
        """Where this differs from a snapshot taken at the same point of the stream: nowhere, or it is wrong."""
        return _differences(self.streamed(), snapshot)

    def passing_differences(self, snapshot: Data) -> set[str]:
        """Where what has no place in the stream differs: it may for a moment, and must not for long."""
        return _differences(self.unstreamed(), snapshot)

    def remember_chat(self, session_id: str, messages: list[Data]) -> None:
        """A chat's history, as it was read."""
        self.chats[session_id] = {message["id"]: message for message in messages}

    def chat_differences(self, session_id: str, history: list[Data]) -> set[str]:
        """Where a chat differs from its history; none when this client has not seen the whole of it."""
        shown = self.chats.get(session_id)
        if shown is None:
            return set()
        stored = {message["id"]: message for message in history}
        return {
            f"message {message_id}: {_difference(shown.get(message_id), stored.get(message_id))}"
            for message_id in shown.keys() | stored.keys()
            if shown.get(message_id) != stored.get(message_id)
        }

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
    """What a customer's client shows."""

    def __init__(self) -> None:
        super().__init__()
        self.payment: Data | None = None
        self.session: Data | None = None
        self.extension: Data | None = None
        self._latest_payment_id = ""

    @property
    def pairing(self) -> Data | None:
        """The latest attempt under the payment that is shown."""
        return None if self.payment is None else self.payment["pairing"]

    def restore(self, snapshot: Data) -> None:
        """See Picture."""
        self.chats = {}
        self.payment = snapshot["payment"]
        self.session = snapshot["session"]
        self.extension = snapshot["extension"]
        self._latest_payment_id = "" if self.payment is None else self.payment["id"]

    def apply(self, event_type: str, data: Data) -> None:
        """See Picture."""
        self._apply_to_chats(event_type, data)
        match event_type:
            case "payment.updated":
                # Ids grow with time: what is said of an earlier payment changes nothing that is shown.
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
        """See Picture."""
        return {} if self.session is None else {self.session["id"]: self.session}

    def streamed(self) -> Data:
        """See Picture."""
        return {
            "payment": self.payment,
            "pairing": self.pairing,
            "session": self.session,
            "extension": self.extension,
        }


class MitraPicture(Picture):
    """What a mitra's client shows. Cards and presence are level-triggered: they have no place in the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, Data] = {}
        self.extensions: dict[str, Data] = {}
        self.cards: dict[str, Data] = {}
        self.presence: Data = {}

    def restore(self, snapshot: Data) -> None:
        """See Picture."""
        self.chats = {}
        self.sessions = {session["id"]: session for session in snapshot["sessions"]}
        self.extensions = {extension["id"]: extension for extension in snapshot["extensions"]}
        self.presence = snapshot["presence"]
        self.show_cards(snapshot["requests"])

    def show_cards(self, requests: list[Data]) -> None:
        """The whole set of cards, as every welcome carries it."""
        self.cards = {request["id"]: request for request in requests}

    def apply(self, event_type: str, data: Data) -> None:
        """See Picture."""
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
        """See Picture."""
        return self.sessions

    def streamed(self) -> Data:
        """See Picture."""
        return {"sessions": list(self.sessions.values()), "extensions": list(self.extensions.values())}

    def unstreamed(self) -> Data:
        """See Picture."""
        return {"requests": list(self.cards.values()), "presence": self.presence}


def _differences(shown: Data, fresh: Data) -> set[str]:
    """One sentence for each part, or each member of a list, that is not the same in both."""
    differences = set()
    for name, part in shown.items():
        ours, theirs = _members(name, part), _members(name, fresh[name])
        for member in ours.keys() | theirs.keys():
            if ours.get(member) != theirs.get(member):
                differences.add(f"{member}: {_difference(ours.get(member), theirs.get(member))}")
    return differences


def _difference(ours: Any, theirs: Any) -> str:
    """The fields in which the two differ, or both when they are not of one kind."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        fields = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        return ", ".join(f"{key} is shown as {ours.get(key)!r}, is {theirs.get(key)!r}" for key in fields)
    return f"is shown as {ours!r}, is {theirs!r}"


def _members(name: str, part: Any) -> Data:
    if isinstance(part, list):
        return {f"{name} {member['id']}": without_the_moment(member) for member in part}
    return {name: without_the_moment(part)}
