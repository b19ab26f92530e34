"""Simulated people of a production check, who use the service through the proxy and count what goes wrong.

Chats
    Pairs of a customer and a mitra write to each other all the time, with numbered messages.
Searches
    Customers pay and search, and no mitra accepts. So deadlines fire all the time, and each payment ends as a case.
Journeys
    Customers pay, are accepted, write some messages and end the chat. Then they begin again.
Reads
    Each customer polls the availability, and opens the app's page.

Each person acts as the web clients do: a request that got no answer is sent again under its key, and a socket that
has ended is opened again after the same random pause (web/shared/realtime/connection.ts).
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import aiohttp

from curhat.app import invariants
from curhat.kit.database import DATABASE_AWAY
from curhat.kit.identity import Role
from tests.production.bed import HOSTS, Bed, host
from tests.support.signed_in import SIGN_IN

CHATS: Final = 8
SEARCHERS: Final = 5
JOURNEYS: Final = 2
# A person may send 60 messages in a minute.
MESSAGE_PAUSE_SECONDS: Final = (1.1, 1.4)
READ_PAUSE_SECONDS: Final = 1.0
# The least that an operator may set.
SEARCH_SECONDS: Final = 10
RETRY_PAUSE_SECONDS: Final = 0.2
# As in the web clients.
ANSWER_TIMEOUT_SECONDS: Final = 15
SILENCE_SECONDS: Final = {"customer": 35.0, "mitra": 9.0}
SENT_TIMEOUT_SECONDS: Final = 4.0
MIN_RECONNECT_SECONDS: Final = 0.3
MAX_RECONNECT_SECONDS: Final = 15.0
# Until everything that was begun has ended, and each device shows everything.
REST_TIMEOUT_SECONDS: Final = 60
BASES: Final = {"customer": "/api/client", "mitra": "/api/mitra"}
PAGE_HOSTS: Final = {"customer": HOSTS[0], "mitra": HOSTS[1]}
# Mitras accept this customer's requests, and overlook those of everybody else.
ACCEPTED: Final = "Rio"
OVERLOOKED: Final = "Terlewat"
# Nobody knows who is available. The customer is told so, and tries again.
UNKNOWN: Final = "presence_unknown"

# Continue as if these customers had come back an hour later. Otherwise the limit on unserved payments stops them.
AN_HOUR_AGO: Final = (
    "UPDATE payments SET created_at = created_at - interval '1 hour' WHERE customer_id = $1",
    """
    UPDATE charge_attempts SET started_at = started_at - interval '1 hour' FROM payments
    WHERE payments.id = payment_id AND customer_id = $1
    """,
)


class Answer(NamedTuple):
    """An answer of a server."""

    status: int
    text: str
    body: Any

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 400

    @property
    def code(self) -> str:
        """The code of a refusal. It is empty for any other answer."""
        return self.body.get("code", "") if not self.ok and isinstance(self.body, dict) else ""


class Acknowledged(NamedTuple):
    """A command that the server has acknowledged."""

    path: str
    body: Any
    key: str
    answer: Answer


@dataclass(slots=True)
class Tally:
    """What was counted since the last `clear`."""

    requests: int = 0
    # A request that got no answer, or a status of 500 and above other than `presence_unknown`: when, and what.
    failed: list[tuple[float, str]] = field(default_factory=list)
    failed_messages: int = 0
    # How long after its sending each message was acknowledged, in seconds.
    acknowledged: list[float] = field(default_factory=list)
    # An answer that must not happen.
    wrong: list[str] = field(default_factory=list)
    unknown: int = 0
    # How long each socket that had ended was away, in seconds.
    away: list[float] = field(default_factory=list)
    # How long after its sending each message was shown on the other side, in seconds.
    shown: list[float] = field(default_factory=list)
    # How long after its deadline the end of each search was shown, in seconds.
    late: list[float] = field(default_factory=list)
    searches: int = 0
    journeys: int = 0

    def first_failures(self) -> list[str]:
        """Some of the requests that failed."""
        return [what for _, what in self.failed[:8]]


class Person:
    """A person with one device."""

    def __init__(self, crowd: "Crowd", role: Role, user_id: UUID, token: str, name: str) -> None:
        self.crowd = crowd
        self.role: Role = role
        self.id = user_id
        self.name = name
        self.headers = {**host(PAGE_HOSTS[role]), "Authorization": f"Bearer {token}"}
        self.acknowledged: list[Acknowledged] = []
        # The messages that the other side sent, in the order in which they arrived here, per session.
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.cards: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.faults: list[str] = []
        self.seq: int | None = None
        self.restored = 0
        self._epoch: str | None = None
        self._device = str(uuid4())
        self._changed = asyncio.Condition()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        # The messages that were sent over the socket and have no answer yet, by client_message_id.
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._dice = random.Random(name)

    # HTTP ---------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Answer:
        """GET a path of this role's API, until a server answers."""
        return await self._until_answered("GET", path, None, {})

    async def put(self, path: str, body: Any) -> Answer:
        """PUT a body, until a server answers."""
        return await self._until_answered("PUT", path, body, {})

    async def command(self, path: str, body: Any = None, *, is_message: bool = False) -> Answer:
        """POST under a new key, and repeat it under the same key until a server answers."""
        key = str(uuid4())
        headers = {} if is_message else {"Idempotency-Key": key}
        answer = await self._until_answered("POST", path, body, headers)
        if answer.ok and not is_message:
            self.acknowledged.append(Acknowledged(path, body, key, answer))
        return answer

    async def accept_texts(self) -> None:
        """Accept every text that this person has not accepted, as the app asks for (P.1)."""
        texts = await self.get("/texts")
        assert texts.ok, texts.text
        for text in texts.body["items"]:
            if text["accepted_at"] is None:
                order = {"kind": text["kind"], "version": text["version"]}
                answer = await self._until_answered("POST", "/acceptances", order, {})
                assert answer.ok, answer.text

    async def _until_answered(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        tally = self.crowd.tally
        while True:
            tally.requests += 1
            try:
                answer = await self.try_once(method, path, body, headers)
                if answer.code == UNKNOWN:
                    tally.unknown += 1
                    return answer
                if answer.status < 500:
                    if answer.code != "idempotency_in_progress":
                        return answer
                else:
                    self._note_failure(f"{method} {path}: {answer.status} {answer.text[:120]}", path)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._note_failure(f"{method} {path}: {type(error).__name__} {error}", path)
            await asyncio.sleep(self.crowd.retry_pause_seconds)

    async def try_once(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request. Raises an error of aiohttp, or TimeoutError."""
        async with (
            asyncio.timeout(ANSWER_TIMEOUT_SECONDS),
            self.crowd.http.request(
                method,
                self.crowd.bed.url(PAGE_HOSTS[self.role], BASES[self.role] + path),
                json=body,
                headers={**self.headers, **(headers or {})},
            ) as response,
        ):
            text = await response.text()
            try:
                return Answer(response.status, text, json.loads(text) if text else None)
            except json.JSONDecodeError:
                return Answer(response.status, text, None)

    def _note_failure(self, what: str, path: str) -> None:
        tally = self.crowd.tally
        tally.failed.append((time.monotonic(), what))
        tally.failed_messages += path.endswith("/messages")

    # The socket ---------------------------------------------------------------------------------------------

    async def stay_connected(self) -> None:
        """Keep a socket open until the task is cancelled."""
        url = self.crowd.bed.url(PAGE_HOSTS[self.role], f"{BASES[self.role]}/realtime")
        failures, ended_at = 0, None
        while True:
            try:
                async with (
                    asyncio.timeout(10) as connecting,
                    self.crowd.http.ws_connect(url, headers=self.headers, max_msg_size=0) as socket,
                ):
                    hello = {"op": "hello", "epoch": self._epoch, "seq": self.seq, "device_id": self._device}
                    await socket.send_json(hello)
                    async for frame in self._frames(socket, connecting):
                        if frame["op"] == "welcome":
                            failures, self._socket = 0, socket
                            if ended_at is not None:
                                self.crowd.tally.away.append(time.monotonic() - ended_at)
                                ended_at = None
                            await self._welcome(frame)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            self.connected.clear()
            self._socket = None
            for name in tuple(self._waiting):
                self._take_answer(name, is_stored=False)
            ended_at = ended_at or time.monotonic()
            failures += 1
            longest = min(MAX_RECONNECT_SECONDS, MIN_RECONNECT_SECONDS * 2**failures)
            await asyncio.sleep(longest * (0.25 + 0.75 * self._dice.random()))

    async def _frames(
        self, socket: aiohttp.ClientWebSocketResponse, connecting: asyncio.Timeout
    ) -> AsyncIterator[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        while True:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            connecting.reschedule(loop.time() + SILENCE_SECONDS[self.role])
            frame = json.loads(message.data)
            if frame["op"] == "ping":
                await socket.send_json({"op": "pong"})
                if self.seq is not None and frame["seq"] > self.seq:
                    hello = {"op": "hello", "epoch": self._epoch, "seq": self.seq, "device_id": self._device}
                    await socket.send_json(hello)
            elif frame["op"] == "event":
                await self._event(frame)
            elif frame["op"] in ("sent", "refused"):
                self._take_answer(frame["client_message_id"], is_stored=frame["op"] == "sent")
            yield frame

    async def send_message(self, session_id: str, message: dict[str, str]) -> Answer | None:
        """Send a message. Return None if it was stored over the socket, and otherwise the answer to a POST.

        A mitra sends over the socket, and by POST if the socket has no answer, as the web clients do. A customer sends
        by POST only, as other clients may do.
        """
        if self.role == "mitra" and await self._send_over_socket(session_id, message):
            return None
        return await self.command(f"/sessions/{session_id}/messages", message, is_message=True)

    async def _send_over_socket(self, session_id: str, message: dict[str, str]) -> bool:
        if self._socket is None:
            return False
        name = message["client_message_id"]
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            async with asyncio.timeout(SENT_TIMEOUT_SECONDS):
                await self._socket.send_json({"op": "send", "session_id": session_id, **message})
                return await answer
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        finally:
            self._waiting.pop(name, None)

    def _take_answer(self, name: str, *, is_stored: bool) -> None:
        answer = self._waiting.pop(name, None)
        if answer is not None and not answer.done():
            answer.set_result(is_stored)

    async def _welcome(self, frame: dict[str, Any]) -> None:
        if self.seq is None:
            self.seq = frame["seq"]
        elif not frame["resumed"]:
            # A device that cannot resume shows a new snapshot instead of the events that it has missed.
            self.restored += 1
            self.seq = frame["seq"]
            self.crowd.start(self._restore_chats())
        self._epoch = frame["epoch"]
        for card in frame.get("requests", ()):
            self.cards.put_nowait(card)
        self.connected.set()

    async def _restore_chats(self) -> None:
        for chat in self.crowd.chats:
            if self not in (chat.customer, chat.mitra):
                continue
            for message in await self.history(chat.session_id):
                if message["sender"] != self.role:
                    self._show(message, is_event=False)

    def _show(self, message: dict[str, Any], *, is_event: bool) -> None:
        name, shown = message["client_message_id"], self.received[message["session_id"]]
        if name in shown and (not is_event or self.restored):
            return  # A device ignores a message that it knows from the snapshot.
        shown.append(name)
        sent_at = self.crowd.sent.pop(name, None)
        if sent_at is not None:
            self.crowd.tally.shown.append(time.monotonic() - sent_at)

    async def history(self, session_id: str) -> list[dict[str, Any]]:
        """All messages of a chat, the oldest first."""
        messages: list[dict[str, Any]] = []
        before = ""
        while True:
            page = (await self.get(f"/sessions/{session_id}/messages{before}")).body
            messages += page["items"]
            if page["next_cursor"] is None:
                return messages[::-1]
            before = f"?before={page['next_cursor']}"

    async def _event(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if frame["seq"] is not None:
            assert self.seq is not None
            if frame["seq"] <= self.seq:
                return
            if frame["seq"] != self.seq + 1:
                self.faults.append(f"event {frame['seq']} came after {self.seq}")
            self.seq = frame["seq"]
        match frame["type"]:
            case "message.created" if data["sender"] != self.role:
                self._show(data, is_event=True)
            case "request.offered":
                self.cards.put_nowait(data)
            case "pairing.updated" if data["status"] == "failed":
                self.crowd.note_end_of_search(data["id"])
        async with self._changed:
            self._changed.notify_all()

    async def event_or(self, seconds: float) -> None:
        """Wait for the next event, but at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()


class Chat(NamedTuple):
    """A chat, and the messages that the server has acknowledged, per sender."""

    session_id: str
    customer: Person
    mitra: Person
    acknowledged: dict[Role, list[str]]

    def pairs(self) -> list[tuple[Person, Person]]:
        """Each sender with the other side."""
        return [(self.customer, self.mitra), (self.mitra, self.customer)]


class Crowd:
    """The people of a check. `live` makes them act until the end of the block."""

    def __init__(self, bed: Bed, http: aiohttp.ClientSession) -> None:
        self.bed = bed
        self.http = http
        self.tally = Tally()
        self.retry_pause_seconds = RETRY_PAUSE_SECONDS
        # When each message was sent that is not shown yet, by client_message_id.
        self.sent: dict[str, float] = {}
        self.people: list[Person] = []
        self.chats: list[Chat] = []
        self._make = bed.make
        # The deadline of each search whose end is not shown yet, by the id of its pairing.
        self.searching: dict[str, float] = {}
        self._closing = asyncio.Event()
        self._numbers = itertools.count()
        self._offer_id = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._acting: list[asyncio.Task[None]] = []

    def clear(self) -> None:
        """Count from zero."""
        self.tally = Tally()

    async def begin(self, *, chats: int = CHATS, searchers: int = SEARCHERS) -> None:
        """Let everybody come, and then act until `finish`."""
        database = self.bed.database
        self._offer_id = str(await self._make.offer())
        await database.execute(
            "UPDATE configuration SET value = $1 WHERE key = 'pairing_blast_timeout_seconds'",
            str(SEARCH_SECONDS),
        )
        for number in range(chats):
            chat = await self._begin_chat(number)
            for sender, _ in chat.pairs():
                self._act(self._talk(chat, sender))
        await self._mitra("overlooks", max_customers=20)
        for number in range(JOURNEYS):
            self.start(self._accept_requests(await self._mitra(f"accepts {number}")))
            self._act(self._make_journeys(await self._customer(f"{ACCEPTED} {number}")))
        for number in range(searchers):
            customer = await self._customer(f"{OVERLOOKED} {number}")
            self._act(self._search_again_and_again(customer, number * SEARCH_SECONDS / searchers))
        self._act(self._read(self.people[0]))
        # The deadlines that fire from now on are spread over time.
        async with asyncio.timeout(2 * SEARCH_SECONDS):
            while len(self.searching) < searchers:
                await asyncio.sleep(0.1)
        assert not self.tally.wrong, self.tally.wrong
        self.clear()

    async def until_calm(self) -> None:
        """Wait until each person is connected, each message that was sent is shown, and no search is overdue."""
        begun = time.monotonic()
        ends_at = begun + REST_TIMEOUT_SECONDS
        while missing := self._what_is_missing(begun):
            self._raise_errors()
            assert time.monotonic() < ends_at, f"after {REST_TIMEOUT_SECONDS} s: {missing}"
            await asyncio.sleep(0.05)

    def _what_is_missing(self, begun: float) -> str:
        away = sum(not person.connected.is_set() for person in self.people)
        unseen = sum(sent_at <= begun for sent_at in self.sent.values())
        overdue = sum(deadline <= time.time() for deadline in self.searching.values())
        if away or unseen or overdue:
            return f"{away} people are away, {unseen} messages are not shown, {overdue} searches are overdue"
        return ""

    async def until_next_deadlines(self, count: int = 2) -> None:
        """Wait until some more searches have ended."""
        wanted = len(self.tally.late) + count
        async with asyncio.timeout(REST_TIMEOUT_SECONDS):
            while len(self.tally.late) < wanted:
                self._raise_errors()
                await asyncio.sleep(0.05)

    def note_end_of_search(self, pairing_id: str) -> None:
        """A device shows that a search has ended. Nobody accepts or rejects it, so its deadline has ended it."""
        deadline = self.searching.pop(pairing_id, None)
        if deadline is not None:
            self.tally.late.append(time.time() - deadline)

    def messages(self) -> int:
        """How many messages of the chats were acknowledged."""
        return sum(len(names) for chat in self.chats for names in chat.acknowledged.values())

    def commands(self) -> int:
        """How many commands other than messages were acknowledged."""
        return sum(len(person.acknowledged) for person in self.people)

    async def parked_deadlines(self) -> int:
        """How many deadlines are parked."""
        sql = "SELECT count(*) FROM deadlines WHERE parked_at IS NOT NULL"
        count: int = await self.bed.database.fetchval(sql)
        return count

    async def finish(self) -> None:
        """Let everybody finish, and check that nothing is lost or doubled."""
        self._raise_errors()
        self._closing.set()
        async with asyncio.timeout(REST_TIMEOUT_SECONDS):
            await asyncio.gather(*self._acting)
        await self._check()
        self._raise_errors()

    async def stop(self) -> None:
        """Let everybody vanish."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this until `stop`. An error in it is an error of the check."""
        self._tasks.append(asyncio.create_task(step))
        return self._tasks[-1]

    def _act(self, step: Coroutine[Any, Any, None]) -> None:
        self._acting.append(self.start(step))

    def _raise_errors(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    # Who there is -------------------------------------------------------------------------------------------

    async def _person(self, role: Role, user_id: UUID, name: str) -> Person:
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        await self.bed.database.execute(SIGN_IN, digest, role, user_id, "bearer", 86_400.0)
        person = Person(self, role, user_id, token, name)
        self.people.append(person)
        self.start(person.stay_connected())
        await person.connected.wait()
        return person

    async def _customer(self, name: str) -> Person:
        customer = await self._person("customer", await self._make.customer(name), name)
        await customer.accept_texts()
        return customer

    async def _mitra(self, name: str, *, max_customers: int = 1) -> Person:
        mitra_id = await self._make.mitra(f"Kak {name}", online=False, max_customers=max_customers)
        mitra = await self._person("mitra", mitra_id, name)
        await mitra.accept_texts()
        answer = await mitra.put("/presence", {"online": True})
        assert answer.ok, answer.text
        return mitra

    async def _begin_chat(self, number: int) -> Chat:
        """Begin a chat that nobody ends. Afterwards, the mitra is full."""
        mitra = await self._mitra(f"chats {number}")
        customer = await self._customer(f"{ACCEPTED} chats {number}")
        # Nobody may know yet who is available, because the servers have just started.
        async with asyncio.timeout(REST_TIMEOUT_SECONDS):
            while await self._pay(customer) is None:
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
        session_id = await self._accept(mitra)
        assert session_id is not None, self.tally.wrong
        chat = Chat(session_id, customer, mitra, {"customer": [], "mitra": []})
        self.chats.append(chat)
        return chat

    # What they do -------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _talk(self, chat: Chat, sender: Person) -> None:
        while not self._closing.is_set():
            await self.say(chat, sender)
            await self._pause(sender._dice.uniform(*MESSAGE_PAUSE_SECONDS))

    async def say(self, chat: Chat, sender: Person) -> None:
        """Send one message of this chat."""
        name = f"{sender.role}-{next(self._numbers)}-{uuid4().hex[:8]}"
        self.sent[name] = sent_at = time.monotonic()
        body = {"client_message_id": name, "text": f"pesan {name}"}
        answer = await sender.send_message(chat.session_id, body)
        if answer is None or answer.ok:
            chat.acknowledged[sender.role].append(name)
            self.tally.acknowledged.append(time.monotonic() - sent_at)
        else:
            self.tally.wrong.append(f"message: {answer.status} {answer.text[:120]}")

    async def _pay(self, customer: Person) -> dict[str, Any] | None:
        """Open and confirm a payment. Return its pairing, or None if nobody knows who is available."""
        await self._come_back_an_hour_later(customer)
        opened = await customer.command("/payments", {"offer_id": self._offer_id})
        if not opened.ok:
            self._note_refusal("open", opened)
            return None
        confirmed = await customer.command(f"/payments/{opened.body['id']}/confirm")
        if not confirmed.ok:
            self._note_refusal("confirm", confirmed)
            await customer.command(f"/payments/{opened.body['id']}/cancel")
            return None
        while True:
            payment = await customer.get(f"/payments/{opened.body['id']}")
            if payment.body["pairing"] is not None:
                pairing: dict[str, Any] = payment.body["pairing"]
                return pairing
            if payment.body["status"] not in ("confirming", "confirmed"):
                # The gateway was asked, and the server died before it could answer: the customer may confirm again.
                if payment.body["status"] == "pending":
                    await customer.command(f"/payments/{opened.body['id']}/cancel")
                return None
            await customer.event_or(0.5)

    async def _come_back_an_hour_later(self, customer: Person) -> None:
        for statement in AN_HOUR_AGO:
            while True:
                try:
                    await self.bed.database.execute(statement, customer.id)
                    break
                except DATABASE_AWAY:
                    await asyncio.sleep(RETRY_PAUSE_SECONDS)

    def _note_refusal(self, step: str, answer: Answer) -> None:
        # There is always a mitra with a free place. So the first of these two would be a wrong answer.
        if answer.code != UNKNOWN:
            self.tally.wrong.append(f"{step}: {answer.status} {answer.code} {answer.text[:120]}")

    async def _search_again_and_again(self, customer: Person, delay_seconds: float) -> None:
        await self._pause(delay_seconds)
        while not self._closing.is_set():
            pairing = await self._pay(customer)
            if pairing is not None:
                self.tally.searches += 1
                if pairing["status"] == "open":
                    self.searching[pairing["id"]] = datetime.fromisoformat(pairing["deadline_at"]).timestamp()
                await self._until_decided(customer, pairing["id"])
            await self._pause(0.5)

    async def _until_decided(self, customer: Person, pairing_id: str) -> dict[str, Any]:
        while True:
            pairing = await customer.get(f"/pairings/{pairing_id}")
            if pairing.body["status"] != "open":
                self.note_end_of_search(pairing_id)
                decided: dict[str, Any] = pairing.body
                return decided
            await customer.event_or(2)

    async def _accept_requests(self, mitra: Person) -> None:
        while True:
            await self._accept(mitra)

    async def _accept(self, mitra: Person) -> str | None:
        """Accept the next request that this mitra does not overlook. Return the session's id, or None."""
        while True:
            card = await mitra.cards.get()
            if card["call_name"].startswith(ACCEPTED):
                break
        answer = await mitra.command(f"/requests/{card['id']}/accept")
        if not answer.ok:
            if answer.code not in ("already_taken", "request_closed", "not_found", "at_capacity", "too_late"):
                self.tally.wrong.append(f"accept: {answer.status} {answer.text[:120]}")
            return None
        session_id: str = answer.body["session"]["id"]
        return session_id

    async def _make_journeys(self, customer: Person) -> None:
        while not self._closing.is_set():
            pairing = await self._pay(customer)
            if pairing is not None:
                decided = await self._until_decided(customer, pairing["id"])
                if decided["status"] == "matched":
                    await self._chat_and_end(customer, decided["session_id"])
                    self.tally.journeys += 1
            await self._pause(1)

    async def _chat_and_end(self, customer: Person, session_id: str) -> None:
        for number in range(2):
            body = {"client_message_id": str(uuid4()), "text": f"halo {number}"}
            answer = await customer.command(f"/sessions/{session_id}/messages", body, is_message=True)
            if not answer.ok:
                self.tally.wrong.append(f"message: {answer.status} {answer.text[:120]}")
            await self._pause(MESSAGE_PAUSE_SECONDS[1])
        ended = await customer.command(f"/sessions/{session_id}/end")
        if not ended.ok:
            self.tally.wrong.append(f"end: {ended.status} {ended.text[:120]}")

    async def _read(self, person: Person) -> None:
        page = self.bed.url(HOSTS[0], "/app/")
        while not self._closing.is_set():
            await person.get("/mitra-availability")
            await person.get("/state")
            try:
                async with self.http.get(page, headers=host(HOSTS[0])) as answer:
                    await answer.read()
                if answer.status >= 500:
                    person._note_failure(f"GET /app/: {answer.status}", "/app/")
            except (aiohttp.ClientError, TimeoutError) as error:
                person._note_failure(f"GET /app/: {type(error).__name__} {error}", "/app/")
            self.tally.requests += 1
            await self._pause(READ_PAUSE_SECONDS)

    # What must hold at the end ------------------------------------------------------------------------------

    async def _check(self) -> None:
        """Wait until nothing is in flight and each device shows everything. Assert that nothing is wrong."""
        for chat in self.chats:
            await self._check_chat(chat)
        for chat in self.chats:
            ended = await chat.customer.command(f"/sessions/{chat.session_id}/end")
            assert ended.ok, ended.text
        await self._until_all_is_shown()
        faults = [f"{person.name}: {fault}" for person in self.people for fault in person.faults]
        assert not faults, faults
        await self._repeat_commands()
        violations = await invariants.check(self.bed.database, quiet=True)
        assert violations == [], [str(violation) for violation in violations]

    async def _check_chat(self, chat: Chat) -> None:
        for sender, other in chat.pairs():
            sent = chat.acknowledged[sender.role]
            async with asyncio.timeout(REST_TIMEOUT_SECONDS):
                while not set(sent) <= set(other.received[chat.session_id]):
                    await other.event_or(0.5)
            received = other.received[chat.session_id]
            lost, doubled = set(sent) - set(received), [n for n, c in Counter(received).items() if c > 1]
            assert not lost, f"{len(lost)} messages of {sender.name} are lost"
            assert not doubled, f"{len(doubled)} messages of {sender.name} arrived twice"
            if not other.restored:
                assert [name for name in received if name in set(sent)] == sent, "another order"
            history = [m for m in await other.history(chat.session_id) if m["sender"] == sender.role]
            stored = [message["client_message_id"] for message in history]
            assert len(set(stored)) == len(stored), "a message is stored twice"
            assert [name for name in stored if name in set(sent)] == sent, "the history differs"

    async def _until_all_is_shown(self) -> None:
        database = self.bed.database
        async with asyncio.timeout(REST_TIMEOUT_SECONDS):
            while left := await invariants.violations_of([invariants.IN_FLIGHT], database, None):
                self.in_flight = [str(each) for each in left]
                await asyncio.sleep(0.1)
        async with asyncio.timeout(REST_TIMEOUT_SECONDS):
            while True:
                rows = await database.fetch("SELECT user_id, head FROM streams")
                heads = {row["user_id"]: row["head"] for row in rows}
                if all(p.seq == heads.get(p.id, 0) for p in self.people):
                    return
                await asyncio.sleep(0.1)

    async def _repeat_commands(self) -> None:
        """Repeat every acknowledged command under its key, and assert that the answer is the same as before."""
        for person in self.people:
            for one in person.acknowledged:
                again = await person.try_once("POST", one.path, one.body, {"Idempotency-Key": one.key})
                assert (again.status, again.text) == (one.answer.status, one.answer.text), (one, again)


@contextlib.asynccontextmanager
async def crowd_of(bed: Bed, **numbers: int) -> AsyncIterator[Crowd]:
    """People who act. The block may end with `finish`."""
    async with bed.http() as http:
        crowd = Crowd(bed, http)
        try:
            await crowd.begin(**numbers)
            yield crowd
        finally:
            await crowd.stop()
