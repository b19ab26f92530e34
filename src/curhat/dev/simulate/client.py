"""A simulated person and their devices. The devices lose the network, reconnect and resume.

The person compares the picture of each device with `/state`. Whenever something happens that must not happen, the tally
counts a fault. Examples of faults are a gap in a stream, and a device that differs from a fresh snapshot. Two different
answers to one Idempotency-Key, and an answer that the contract does not allow, are also faults.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
import msgspec
from aiohttp import ClientWebSocketResponse, WSMsgType

from curhat.dev.simulate.people import Chatting, Manner
from curhat.dev.simulate.picture import CustomerPicture, Data, MitraPicture, Picture
from curhat.dev.simulate.report import Tally
from curhat.kit.identity import Role

# If the server takes longer than REQUEST_TIMEOUT_SECONDS to answer a request, the client treats the request as
# unanswered.
REQUEST_TIMEOUT_SECONDS: Final = 30.0
# A client sends a request at most MAX_CONNECTION_TRIES times while the connection fails. The average pause grows with
# each try. A killed server is available again within seconds.
MAX_CONNECTION_TRIES: Final = 8
# A client repeats a command at most MAX_RUNNING_TRIES times while the server still executes the command.
MAX_RUNNING_TRIES: Final = 60
# A device sends this share of its messages over its socket, and all other messages by POST.
SHARE_OVER_SOCKET: Final = 0.7
# As in the apps, a device sends a message by POST if no answer has come within SOCKET_ANSWER_TIMEOUT_SECONDS.
SOCKET_ANSWER_TIMEOUT_SECONDS: Final = 4.0
RUNNING_PAUSE_SECONDS: Final = 0.25
# A device must show the state of a snapshot within CATCH_UP_TIMEOUT_SECONDS. A lost signal delays the device by 3 s. A
# lost network delays the device by 1.5 s, plus the time to reconnect. The remaining time allows for a slow machine.
CATCH_UP_TIMEOUT_SECONDS: Final = 30.0
# Cards and presence are not part of the stream. Cards and presence can differ from a snapshot for
# TRANSIENT_TIMEOUT_SECONDS.
TRANSIENT_TIMEOUT_SECONDS: Final = 15.0
COMPARE_PAUSE_SECONDS: Final = 0.5
# Close codes that the server should never send to these clients.
FAULTY_CLOSES: Final = frozenset({1002, 1003, 1007, 1008, 1009, 1011, 4401, 4408, 4413, 4429})

IN_PROGRESS: Final = "idempotency_in_progress"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    text: bytes
    body: Any

    @property
    def code(self) -> str:
        """The `code` of a refusal. If the answer is not a refusal, the code is empty."""
        return self.body.get("code", "") if self.status >= 400 and isinstance(self.body, dict) else ""

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 400


class RunState:
    """The state that all people of a run share."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tally: Tally) -> None:
        self.http = http
        self.url = url.rstrip("/")
        self.tally = tally
        # Set when no new journey is allowed to begin and the running journeys must end.
        self.closing = asyncio.Event()
        # Set when no work of the run is in flight any more. Each person then compares the devices for the last time,
        # and disconnects.
        self.over = asyncio.Event()
        # The sender and the time of each chat message that the other side does not show yet. The keys are
        # client_message_ids.
        self.sent: dict[str, tuple[Role, float]] = {}
        # At the end, all people compare their devices at the same moment, so a limit protects the server.
        self.last_comparisons = asyncio.Semaphore(8)


class Person:
    """A simulated person: signs in, sends commands, and has one or more devices."""

    def __init__(
        self, run_state: RunState, role: Role, name: str, phone_number: str, dice: random.Random
    ) -> None:
        self.run_state = run_state
        self.tally = run_state.tally
        self.role: Role = role
        self.name = name
        self.phone_number = phone_number
        # Makes the random decisions that are not in the plan, such as the pause before a reconnect.
        self.dice = dice
        self.id: UUID | None = None
        self.base = "/api/client" if role == "customer" else "/api/mitra"
        self.devices: list[Device] = []
        # The picture of the first device. The person's actions depend on this picture.
        self.picture: Picture = CustomerPicture() if role == "customer" else MitraPicture()
        # A task holds this lock while it compares the devices, so that no device loses its network during the
        # comparison.
        self.network = asyncio.Lock()
        self.headers: dict[str, str] = {}  # they authenticate this person

    def fault(self, sentence: str) -> None:
        """Count a fault: something that must not happen."""
        self.tally.fault(f"{self.role} {self.name}: {sentence}")

    async def rest(self, seconds: float) -> None:
        """Wait for `seconds`, but at most until the run is closing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.run_state.closing.wait()

    def is_closing(self) -> bool:
        """Return whether the run is closing. While the run is closing, no new journey begins."""
        return self.run_state.closing.is_set()

    # HTTP ------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        expected: Collection[str] = (),
    ) -> Answer:
        """Send an HTTP request and return its answer. A refusal whose code is not in `expected` is a fault.

        When the connection fails, send the request again. A repeated request is safe, because a command has its
        Idempotency-Key, and the other requests are idempotent.
        """
        headers = self.headers if key is None else {**self.headers, "Idempotency-Key": key}
        answer = await self._answer(method, path, body, headers)
        if answer.code in expected:
            self.tally.refusals[answer.code] += 1
        elif not answer.ok:
            text = answer.text[:200].decode(errors="replace")
            self.fault(f"{method} {_shape(path)}: {answer.status} {text}")
        return answer

    async def _answer(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        error: Exception | None = None
        for failed in range(1, MAX_CONNECTION_TRIES + 1):
            self.tally.requests += 1
            try:
                async with self.run_state.http.request(
                    method, self.run_state.url + path, json=body, headers=headers
                ) as response:
                    text = await response.read()
                    return Answer(response.status, text, _decoded(text))
            except (aiohttp.ClientConnectionError, TimeoutError) as failure:
                error = failure
                self.tally.network_errors += 1
                await asyncio.sleep(self.dice.uniform(0.1, 0.7) * failed)
        return Answer(599, repr(error).encode(), None)

    async def get(self, path: str) -> Answer:
        """Send a GET to the API of this person's role."""
        return await self.call("GET", self.base + path)

    async def post(self, path: str, body: object = None, *, expected: Collection[str] = ()) -> Answer:
        """Send a POST that needs no Idempotency-Key to the API of this person's role."""
        return await self.call("POST", self.base + path, body, expected=expected)

    async def command(
        self, path: str, body: object = None, *, manner: Manner = "once", expected: Collection[str] = ()
    ) -> Answer:
        """Send a command in the way that `manner` names. All repetitions of the command must get the same answer."""
        key = str(uuid.uuid4())
        while_running = {*expected, IN_PROGRESS}

        async def send() -> Answer:
            return await self.call("POST", self.base + path, body, key=key, expected=while_running)

        if manner == "cut":
            # Pretend that the network was lost before the answer arrived.
            try:
                async with asyncio.timeout(self.dice.uniform(0, 0.03)):
                    await send()
            except TimeoutError:
                self.tally.answers_not_waited_for += 1
        at_once = 2 if manner == "twice" else 1
        answers = list(await asyncio.gather(*(send() for _ in range(at_once))))
        if manner == "repeated":
            answers.append(await send())
        for _ in range(MAX_RUNNING_TRIES):
            decided = [answer for answer in answers if answer.code != IN_PROGRESS]
            if decided:
                break
            await asyncio.sleep(RUNNING_PAUSE_SECONDS)
            answers = [await send()]
        else:
            self.fault(f"POST {_shape(path)}: still running after {MAX_RUNNING_TRIES} tries")
            return answers[-1]
        if len({(answer.status, answer.text) for answer in decided}) > 1:
            texts = " and ".join(f"{answer.status} {answer.text[:300]!r}" for answer in decided)
            self.fault(f"POST {_shape(path)}: two answers to one Idempotency-Key: {texts}")
        return decided[0]

    async def sign_in(
        self, *, call_name: str | None = None, mistypes: bool = False, forgets: bool = False
    ) -> None:
        """Sign in with a one-time code from the development inbox."""
        phone = {"phone": self.phone_number}
        request = await self.post("/auth/otp/request", phone, expected={"too_many_requests"})
        if request.code == "too_many_requests":
            # An earlier run was killed after it had requested a code for this phone number.
            await asyncio.sleep(31)
            request = await self.post("/auth/otp/request", phone)
        inbox = await self.call("GET", f"/api/dev/inbox?{urlencode(phone)}")
        verify: Data = {"request_id": request.body["request_id"], "code": inbox.body["messages"][0]["code"]}
        if mistypes:
            wrong = f"{(int(verify['code']) + 1) % 1_000_000:06d}"
            await self.post("/auth/otp/verify", {**verify, "code": wrong}, expected={"code_invalid"})
        if forgets:
            await self.post("/auth/otp/verify", verify, expected={"call_name_required"})
        if call_name is not None:
            verify["call_name"] = call_name
        signed_in = await self.post("/auth/otp/verify", verify)
        self.headers["Authorization"] = f"Bearer {signed_in.body['token']}"
        self.id = UUID(signed_in.body["customer" if self.role == "customer" else "mitra"]["id"])
        await self._accept_texts()

    async def _accept_texts(self) -> None:
        """Accept the texts whose newest version this person has not accepted (P.1)."""
        texts = await self.get("/texts")
        for text in texts.body["items"] if texts.ok else ():
            if text["accepted_at"] is None:
                await self.post("/acceptances", {"kind": text["kind"], "version": text["version"]})

    # Chat ------------------------------------------------------------------------------------------------

    async def say(self, session_id: str, text: str, *, repeats: bool = False) -> Answer:
        """Send a chat message. With `repeats`, send the message a second time.

        The two answers must contain the same message.
        """
        message = {"client_message_id": str(uuid.uuid4()), "text": text}
        self.run_state.sent[message["client_message_id"]] = (self.role, time.perf_counter())
        path = f"/sessions/{session_id}/messages"
        # As in the apps, a message goes by POST if the socket gives no answer. So one chat contains messages from the
        # socket and messages from POSTs.
        answer = None
        if self.dice.random() < SHARE_OVER_SOCKET:
            answer = await self.device.send_message(session_id, message)
        if answer is None:
            answer = await self.post(path, message, expected={"session_ended"})
        if not answer.ok:
            del self.run_state.sent[message["client_message_id"]]
            return answer
        self.tally.messages_sent += 1
        if repeats:
            again = await self.post(path, message)
            if again.ok and again.body["id"] != answer.body["id"]:
                self.fault(f"a repeated message was stored twice: {answer.body} {again.body}")
        return answer

    async def type_and_say(self, session_id: str, text: str, chatting: Chatting) -> Answer:
        """Type for a while, and then send a message."""
        await self.device.type_in(session_id)
        await self.rest(chatting.typing_seconds)
        return await self.say(session_id, text, repeats=chatting.repeats)

    async def read_up_to(self, session_id: str, message_id: str) -> None:
        """Mark the other side's messages as read."""
        await self.post(f"/sessions/{session_id}/read", {"up_to_message_id": message_id})

    async def history(self, session_id: str) -> list[Data] | None:
        """Read all messages of a session, oldest first. Returns None when the server refuses the request."""
        messages: list[Data] = []
        query = ""
        while True:
            page = await self.get(f"/sessions/{session_id}/messages{query}")
            if not page.ok:
                return None
            messages += page.body["items"]
            if page.body["next_cursor"] is None:
                return messages[::-1]
            query = f"?before={page.body['next_cursor']}"

    async def end_session(self, session_id: str, body: object = None, *, manner: Manner = "once") -> None:
        """End a session, and wait until the first device no longer shows the session."""
        await self.command(f"/sessions/{session_id}/end", body, manner=manner, expected={"session_ended"})
        await self.device.expect(
            lambda: session_id not in self.picture.running(),
            CATCH_UP_TIMEOUT_SECONDS,
            f"the session {session_id} has ended, but is shown",
        )

    # Devices ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> "Device":
        """The first device."""
        return self.devices[0]

    def picture_changed(self, device: "Device") -> None:
        """React to the picture of `device`. The device calls this method after each snapshot and each event."""

    async def connect(self, devices: int, tasks: asyncio.TaskGroup) -> None:
        """Connect as many devices as `devices` says, and wait until each has received its welcome."""
        for number in range(1, devices + 1):
            device = Device(self, f"device {number}")
            self.devices.append(device)
            tasks.create_task(device.run())
        for device in self.devices:
            await device.expect(device.is_live, CATCH_UP_TIMEOUT_SECONDS, f"{device.name} has no welcome")

    async def disconnect(self) -> None:
        """Compare the devices for the last time, then close them."""
        async with self.run_state.last_comparisons:
            await self.check_pictures()
        for device in self.devices:
            await device.close()

    async def trouble(self, first_seconds: float, deaf_seconds: float) -> None:
        """After `first_seconds`, make one device receive nothing for `deaf_seconds` and then lose its connection."""
        await self.rest(first_seconds)
        async with self.network:
            if not self.is_closing():
                await self.dice.choice(self.devices).lose_network(deaf_seconds)

    async def check_pictures(self) -> None:
        """Compare what each device shows with a fresh snapshot."""
        async with self.network:
            for device in self.devices:
                await self._check_picture(device)

    async def _check_picture(self, device: "Device") -> None:
        until = time.monotonic() + TRANSIENT_TIMEOUT_SECONDS
        lasting: set[str] | None = None
        while (snapshot := await self.get("/state")).ok:
            seq = snapshot.body["stream"]["seq"]
            if not await device.expect(
                lambda seq=seq: device.seq >= seq,  # type: ignore[misc]
                CATCH_UP_TIMEOUT_SECONDS,
                f"{device.name} does not show event {seq}",
            ):
                return
            # A device that has applied events after this snapshot cannot be compared with the snapshot. Try a newer
            # snapshot.
            if device.seq == seq:
                if differences := device.picture.differences(snapshot.body):
                    self.fault(f"{device.name} differs from the snapshot at {seq}: {'; '.join(differences)}")
                    return
                transient = device.picture.transient_differences(snapshot.body)
                lasting = transient if lasting is None else lasting & transient
                if not lasting:
                    self.tally.comparisons += 1
                    return
            if time.monotonic() > until:
                if lasting:
                    self.fault(f"{device.name} still differs: {'; '.join(lasting)}")
                else:
                    self.tally.not_compared += 1
                return
            await asyncio.sleep(COMPARE_PAUSE_SECONDS)

    async def check_chat(self, session_id: str) -> None:
        """After the end of a session, compare the chat that each device shows with the history of the session."""
        async with self.network:
            for device in self.devices:
                await self._check_chat(device, session_id)

    async def _check_chat(self, device: "Device", session_id: str) -> None:
        # Read marks can still arrive after the end of the session.
        until = time.monotonic() + CATCH_UP_TIMEOUT_SECONDS
        while (history := await self.history(session_id)) is not None:
            differences = device.picture.chat_differences(session_id, history)
            if not differences:
                self.tally.comparisons += 1
                return
            if time.monotonic() > until:
                self.fault(f"{device.name} shows another chat than the history: {'; '.join(differences)}")
                return
            await asyncio.sleep(COMPARE_PAUSE_SECONDS)


class Device:
    """One device: a socket that reconnects after every loss, and a picture of what the device shows."""

    def __init__(self, person: Person, name: str) -> None:
        self.person = person
        self.name = name
        self.picture = type(person.picture)() if person.devices else person.picture
        self.epoch: str | None = None
        self.seq = 0
        # The time at which the current connection received its welcome. None if there is no connection, or no welcome
        # yet.
        self.live_since: float | None = None
        self._closing = False
        self._socket: ClientWebSocketResponse | None = None
        # The last seq that arrived on this connection, and the seq in the last hello.
        self._received = 0
        self._hello_seq = 0
        self._hello_under_way = False
        self._deaf = False
        self._changed = asyncio.Event()
        # The future answer to each message that was sent over the socket and has no answer yet. The keys are
        # client_message_ids.
        self._answers: dict[str, asyncio.Future[Data]] = {}

    def is_live(self) -> bool:
        """Whether the device is connected and has received its welcome."""
        return self.live_since is not None

    # Waiting -----------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until a condition holds. Test the condition after each change. Returns False when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not condition():
                    await self._changed.wait()
        return condition()

    async def expect(self, condition: Callable[[], bool], timeout_seconds: float, otherwise: str) -> bool:
        """Wait until a condition holds. When the time is up, count the fault `otherwise` and return False."""
        is_met = await self.until(condition, timeout_seconds)
        if not is_met:
            self.person.fault(f"{otherwise} after {timeout_seconds:.0f} s")
        return is_met

    async def changed(self) -> None:
        """Wait for the next call of `wake`."""
        await self._changed.wait()

    def wake(self) -> None:
        """Make every waiting task test its condition again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # The network -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay connected until `close`."""
        while not self._closing:
            try:
                await self._connected()
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.person.tally.network_errors += 1
            if not self._closing:
                await asyncio.sleep(self.person.dice.uniform(0.1, 1.5))

    async def close(self) -> None:
        """Close the socket, and do not reconnect."""
        self._closing = True
        if self._socket is not None:
            await self._socket.close()

    async def lose_network(self, deaf_seconds: float) -> None:
        """Ignore all frames for `deaf_seconds`. Then cut the connection without a close frame."""
        if self._socket is None or self.live_since is None:
            return
        self.person.tally.networks_lost += 1
        self._set_live_since(None)
        if deaf_seconds:
            self._deaf = True
            await self.person.rest(deaf_seconds)
        self._cut()

    def _cut(self) -> None:
        connection = None if self._socket is None else self._socket.get_extra_info("socket")
        if connection is not None:
            # uvloop does not allow a shutdown of its own socket object, so shut down a copy of the descriptor.
            with socket.socket(fileno=os.dup(connection.fileno())) as copy:
                copy.shutdown(socket.SHUT_RDWR)

    async def _connected(self) -> None:
        run_state = self.person.run_state
        headers, query = self.person.headers, ""
        if self.person.dice.random() < 0.3:
            ticket = await self.person.post("/realtime-ticket")
            if not ticket.ok:
                return
            headers, query = {}, f"?ticket={ticket.body['ticket']}"
        url = f"{run_state.url}{self.person.base}/realtime{query}"
        async with run_state.http.ws_connect(url, headers=headers) as connection:
            self._socket = connection
            try:
                await self.say_hello()
                await self._listen(connection)
            finally:
                self._socket = None
                self._deaf = False
                self._set_live_since(None)

    async def _listen(self, connection: ClientWebSocketResponse) -> None:
        async for message in connection:
            # A deaf device receives nothing on this connection.
            if message.type is WSMsgType.TEXT and not self._deaf:
                await self.take(msgspec.json.decode(message.data))
        code = connection.close_code
        if code is not None and not self._closing:
            self.person.tally.closes[code] += 1
            if code in FAULTY_CLOSES:
                self.person.fault(f"{self.name}: the server closed the socket with {code}")

    def _set_live_since(self, since: float | None) -> None:
        connected = self.person.tally.connected
        connected[self.person.role] += (since is not None) - (self.live_since is not None)
        self.live_since = since

    # Frames ------------------------------------------------------------------------------------------------

    async def _send(self, frame: Data) -> None:
        if self._socket is not None and not self._socket.closed:
            await self._socket.send_json(frame)

    async def say_hello(self) -> None:
        """Send the seq of the last applied event.

        The server answers with a welcome and the events after the last applied event.
        """
        self._hello_seq = self.seq
        self._hello_under_way = True
        seq = None if self.epoch is None else self.seq
        await self._send({"op": "hello", "epoch": self.epoch, "seq": seq, "device_id": self.name})

    async def send_message(self, session_id: str, message: Data) -> Answer | None:
        """Send a chat message over the socket.

        Returns None if the server refuses the message, or if no answer comes.
        """
        if not self.is_live():
            return None
        self._answers[message["client_message_id"]] = answered = asyncio.get_running_loop().create_future()
        await self._send({"op": "send", "session_id": session_id, **message})
        try:
            async with asyncio.timeout(SOCKET_ANSWER_TIMEOUT_SECONDS):
                frame = await answered
        except TimeoutError:
            return None
        finally:
            del self._answers[message["client_message_id"]]
        if frame["op"] == "refused":
            return None
        self.person.tally.sent_over_socket += 1
        return Answer(201, b"", frame["message"])

    async def type_in(self, session_id: str) -> None:
        """Send the signal that this person is typing."""
        await self._send({"op": "signal", "type": "typing", "session_id": session_id})

    async def take(self, frame: Data) -> None:
        """Handle one frame from the server."""
        match frame["op"]:
            case "event":
                self._take_event(frame)
            case "ping":
                await self._send({"op": "pong"})
                if frame["seq"] > self.seq and not self._hello_under_way:
                    self.person.tally.hellos_after_ping += 1
                    await self.say_hello()
            case "welcome":
                await self._take_welcome(frame)
            case "sent" | "refused":
                waiting = self._answers.get(frame["client_message_id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            case "error":
                self.person.fault(f"{self.name}: {frame}")

    async def _take_welcome(self, welcome: Data) -> None:
        tally = self.person.tally
        if welcome["resumed"]:
            self._received = self._hello_seq
            tally.resumed += 1
        else:
            self._received = welcome["seq"]
            tally.restored += self.epoch is not None
            await self._restore()
        if isinstance(self.picture, MitraPicture):
            self.picture.show_cards(welcome["requests"])
        self._hello_under_way = False
        if self.live_since is None:
            self._set_live_since(time.perf_counter())
        self._picture_changed()

    async def _restore(self) -> None:
        snapshot = await self.person.get("/state")
        if not snapshot.ok:
            self._cut()
            return
        self.picture.restore(snapshot.body)
        self.epoch = snapshot.body["stream"]["epoch"]
        self.seq = snapshot.body["stream"]["seq"]
        for session_id in self.picture.running():
            history = await self.person.history(session_id)
            if history is not None:
                self.picture.remember_chat(session_id, history)

    def _take_event(self, event: Data) -> None:
        tally = self.person.tally
        seq = event["seq"]
        if seq is None:
            tally.cards += 1
        else:
            if seq != self._received + 1:
                self.person.fault(f"{self.name}: event {seq} came after {self._received}")
            self._received = seq
            if seq <= self.seq:
                return
            self.seq = seq
            tally.events += 1
        self.picture.apply(event["type"], event["data"])
        if event["type"] == "message.created":
            self._note_delay(event["data"])
        self._picture_changed()

    def _note_delay(self, message: Data) -> None:
        sent = self.person.run_state.sent.get(message["client_message_id"])
        if sent is None or sent[0] == self.person.role:
            return
        # Measure only a device that was connected when the sender sent the message.
        if self.live_since is not None and self.live_since < sent[1]:
            self.person.tally.message_delays.append(time.perf_counter() - sent[1])
            del self.person.run_state.sent[message["client_message_id"]]

    def _picture_changed(self) -> None:
        self.wake()
        self.person.picture_changed(self)


def _decoded(text: bytes) -> Any:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(text)
    return None


def _shape(path: str) -> str:
    """Return a path without ids and query."""
    return "/".join("…" if len(part) == 36 else part for part in path.partition("?")[0].split("/"))
