"""A person's devices: HTTP with retries, sockets that lose the network and resume, and the comparison with `/state`.

The tally counts everything that must not happen as a fault: an answer that the contract does not allow here, a gap in a
stream, a picture that differs from a fresh snapshot, a repeated command with another answer.
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
from uuid import UUID

import aiohttp
import msgspec
from aiohttp import ClientWebSocketResponse, WSMsgType

from curhat.dev.simulate.people import Manner
from curhat.dev.simulate.picture import CustomerPicture, Data, MitraPicture, Picture
from curhat.dev.simulate.report import Tally
from curhat.kit.identity import Role

# A slower answer counts as no answer.
REQUEST_TIMEOUT_SECONDS: Final = 30.0
# How many times a request is sent when the connection fails, with a longer pause each time. A killed server is
# available again within seconds.
MAX_CONNECTION_TRIES: Final = 8
# How many times a command is sent while its first execution still runs.
MAX_RUNNING_TRIES: Final = 60
RUNNING_PAUSE_SECONDS: Final = 0.25
# How long a device may take to show the same as a snapshot. A lost signal costs 3 s. A lost network costs 1.5 s and a
# new connection. The rest allows for a slow machine.
CATCH_UP_TIMEOUT_SECONDS: Final = 30.0
# How long cards and presence, which are not part of the stream, may differ from a snapshot.
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
        """The `code` of a refusal; empty for any other answer."""
        return self.body.get("code", "") if self.status >= 400 and isinstance(self.body, dict) else ""

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 400


class RunState:
    """What all people of a run share."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tally: Tally) -> None:
        self.http = http
        self.url = url.rstrip("/")
        self.tally = tally
        # Set when no new journey may begin and the running ones must end.
        self.closing = asyncio.Event()
        # Set when nothing is in flight any more. Then people compare for the last time and disconnect.
        self.over = asyncio.Event()
        # The sender and the time of each message, by client_message_id, until the other side shows it.
        self.sent: dict[str, tuple[Role, float]] = {}
        # All people compare for the last time at once. This limit protects the server from that load.
        self.last_comparisons = asyncio.Semaphore(8)


class Person:
    """A simulated person: signs in, sends commands, and has one or more devices."""

    def __init__(
        self, run_state: RunState, role: Role, name: str, phone_number: str, dice: random.Random
    ) -> None:
        self.run_state = run_state
        self.role: Role = role
        self.name = name
        self.phone_number = phone_number
        # Makes the random decisions that are not in the plan: the pause before a reconnect, and the moment of a
        # network loss.
        self.dice = dice
        self.id: UUID | None = None
        self.base = "/api/client" if role == "customer" else "/api/mitra"
        self.devices: list[Device] = []
        # A task holds this while no device may lose its network.
        self.network = asyncio.Lock()
        self._headers: dict[str, str] = {}

    def fault(self, sentence: str) -> None:
        """Count something that must not happen."""
        self.run_state.tally.fault(f"{self.role} {self.name}: {sentence}")

    async def rest(self, seconds: float) -> None:
        """Wait this long, or until the run is closing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.run_state.closing.wait()

    def is_closing(self) -> bool:
        """Whether no new journey may begin."""
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
        """Send a request and return its answer. A refusal whose code is not in `expected` is a fault.

        When the connection fails, the request is sent again. That is safe: a command has its Idempotency-Key, and the
        other requests are idempotent.
        """
        headers = dict(self._headers)
        if key is not None:
            headers["Idempotency-Key"] = key
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        answer = await self._answer(method, path, content, headers)
        if answer.ok:
            return answer
        if answer.code in expected:
            self.run_state.tally.refusals[answer.code] += 1
        else:
            text = answer.text[:200].decode(errors="replace")
            self.fault(f"{method} {_shape(path)}: {answer.status} {text}")
        return answer

    async def _answer(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Answer:
        tally = self.run_state.tally
        error: Exception | None = None
        for failed in range(1, MAX_CONNECTION_TRIES + 1):
            tally.requests += 1
            try:
                async with self.run_state.http.request(
                    method, self.run_state.url + path, data=content, headers=headers
                ) as response:
                    text = await response.read()
                    return Answer(response.status, text, _decoded(text))
            except (aiohttp.ClientConnectionError, TimeoutError) as failure:
                error = failure
                tally.network_errors += 1
                await asyncio.sleep(self.dice.uniform(0.1, 0.7) * failed)
        return Answer(599, repr(error).encode(), None)

    async def get(self, path: str, *, expected: Collection[str] = ()) -> Answer:
        """Send a GET to the API of this person's role."""
        return await self.call("GET", self.base + path, expected=expected)

    async def post(self, path: str, body: object = None, *, expected: Collection[str] = ()) -> Answer:
        """Send a POST that needs no Idempotency-Key to the API of this person's role."""
        return await self.call("POST", self.base + path, body, expected=expected)

    async def command(
        self, path: str, body: object = None, *, manner: Manner = "once", expected: Collection[str] = ()
    ) -> Answer:
        """Send a command in the given manner. All its repetitions must get the same answer."""
        key = str(uuid.uuid4())
        while_running = {*expected, IN_PROGRESS}

        async def send() -> Answer:
            return await self.call("POST", self.base + path, body, key=key, expected=while_running)

        if manner == "cut":
            await self._send_and_lose(send())
        at_once = 2 if manner == "twice" else 1
        answers = list(await asyncio.gather(*(send() for _ in range(at_once))))
        if manner == "repeated":
            answers.append(await send())
        for _ in range(MAX_RUNNING_TRIES):
            if any(answer.code != IN_PROGRESS for answer in answers):
                break
            await asyncio.sleep(RUNNING_PAUSE_SECONDS)
            answers = [await send()]
        decided = [answer for answer in answers if answer.code != IN_PROGRESS]
        if not decided:
            self.fault(
                f"POST {_shape(path)}: still running after {MAX_RUNNING_TRIES * RUNNING_PAUSE_SECONDS:.0f} s"
            )
            return answers[-1]
        if any((answer.status, answer.text) != (decided[0].status, decided[0].text) for answer in decided):
            texts = " and ".join(f"{answer.status} {answer.text[:300]!r}" for answer in decided)
            self.fault(f"POST {_shape(path)}: two answers to one Idempotency-Key: {texts}")
        return decided[0]

    async def _send_and_lose(self, sending: Any) -> None:
        """Send a request, and lose the network before its answer."""
        task = asyncio.ensure_future(sending)
        await asyncio.wait({task}, timeout=self.dice.uniform(0, 0.03))
        if not task.done():
            task.cancel()
            self.run_state.tally.answers_not_waited_for += 1
        await asyncio.wait({task})

    async def sign_in(
        self, *, call_name: str | None = None, mistypes: bool = False, forgets: bool = False
    ) -> None:
        """Sign in with a one-time code from the development inbox."""
        request = await self.post(
            "/auth/otp/request", {"phone": self.phone_number}, expected={"too_many_requests"}
        )
        if request.code == "too_many_requests":
            # An earlier run was killed after it had requested a code for this phone.
            await asyncio.sleep(31)
            request = await self.post("/auth/otp/request", {"phone": self.phone_number})
        phone = self.phone_number.replace("+", "%2B")
        inbox = await self.call("GET", f"/api/dev/inbox?phone={phone}")
        verify: Data = {"request_id": request.body["request_id"], "code": inbox.body["messages"][0]["code"]}
        if mistypes:
            wrong = f"{(int(verify['code']) + 1) % 1_000_000:06d}"
            await self.post("/auth/otp/verify", {**verify, "code": wrong}, expected={"code_invalid"})
        if forgets:
            await self.post("/auth/otp/verify", verify, expected={"call_name_required"})
        if call_name is not None:
            verify["call_name"] = call_name
        signed_in = await self.post("/auth/otp/verify", verify)
        self._headers["Authorization"] = f"Bearer {signed_in.body['token']}"
        self.id = UUID(signed_in.body["customer" if self.role == "customer" else "mitra"]["id"])

    @property
    def authorization(self) -> dict[str, str]:
        """The headers that authenticate this person."""
        return self._headers

    # Chat ------------------------------------------------------------------------------------------------

    async def say(self, session_id: str, text: str, *, repeats: bool = False) -> Answer:
        """Send a message. With `repeats`, send it a second time; the answer must be the first message."""
        message = {"client_message_id": str(uuid.uuid4()), "text": text}
        self.run_state.sent[message["client_message_id"]] = (self.role, time.perf_counter())
        path = f"/sessions/{session_id}/messages"
        answer = await self.post(path, message, expected={"session_ended"})
        if not answer.ok:
            del self.run_state.sent[message["client_message_id"]]
            return answer
        self.run_state.tally.messages_sent += 1
        if repeats:
            again = await self.post(path, message)
            if again.ok and again.body["id"] != answer.body["id"]:
                self.fault(f"a repeated message was stored twice: {answer.body} {again.body}")
        return answer

    async def read_up_to(self, session_id: str, message_id: str) -> None:
        """Mark the other side's messages as read."""
        await self.post(f"/sessions/{session_id}/read", {"up_to_message_id": message_id})

    async def history(self, session_id: str) -> list[Data] | None:
        """Read all messages of a session, oldest first; None when the server refuses."""
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

    # Devices ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> "Device":
        """The first device: the person acts on what it shows."""
        return self.devices[0]

    def picture_changed(self, device: "Device") -> None:
        """Handle a change of what a device shows. Called after each snapshot and each event."""

    async def connect(self, devices: int, tasks: asyncio.TaskGroup) -> None:
        """Connect this number of devices, and wait until each has received its welcome."""
        for number in range(1, devices + 1):
            device = Device(self, f"device {number}")
            self.devices.append(device)
            tasks.create_task(device.run())
        for device in self.devices:
            if not await device.until(device.is_live, CATCH_UP_TIMEOUT_SECONDS):
                self.fault(f"{device.name} got no welcome within {CATCH_UP_TIMEOUT_SECONDS:.0f} s")

    async def disconnect(self) -> None:
        """Compare for the last time, then close the devices."""
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
        tally = self.run_state.tally
        begun = time.monotonic()
        lasting: set[str] | None = None
        while True:
            snapshot = await self.get("/state")
            if not snapshot.ok:
                return
            seq = snapshot.body["stream"]["seq"]
            if not await device.until(lambda seq=seq: device.seq >= seq, CATCH_UP_TIMEOUT_SECONDS):  # type: ignore[misc]
                self.fault(
                    f"{device.name} shows {device.seq}, {seq} happened {CATCH_UP_TIMEOUT_SECONDS:.0f} s ago"
                )
                return
            # A device that has applied later events cannot be compared with this snapshot. Try a newer one.
            if device.seq == seq:
                differences = device.picture.differences(snapshot.body)
                if differences:
                    self.fault(f"{device.name} differs from the snapshot at {seq}: {'; '.join(differences)}")
                    return
                transient = device.picture.transient_differences(snapshot.body)
                lasting = transient if lasting is None else lasting & transient
                if not lasting:
                    tally.comparisons += 1
                    return
            if time.monotonic() - begun > TRANSIENT_TIMEOUT_SECONDS:
                if lasting:
                    self.fault(
                        f"{device.name} differs for {TRANSIENT_TIMEOUT_SECONDS:.0f} s: {'; '.join(lasting)}"
                    )
                else:
                    tally.not_compared += 1
                return
            await asyncio.sleep(COMPARE_PAUSE_SECONDS)

    async def check_chat(self, session_id: str) -> None:
        """Compare the chat that each device shows with its history, after the end of the session."""
        async with self.network:
            for device in self.devices:
                await self._check_chat(device, session_id)

    async def _check_chat(self, device: "Device", session_id: str) -> None:
        begun = time.monotonic()
        lasting: set[str] | None = None
        while True:
            history = await self.history(session_id)
            if history is None:
                return
            differences = device.picture.chat_differences(session_id, history)
            # Read marks may still arrive after the end.
            lasting = differences if lasting is None else lasting & differences
            if not lasting:
                self.run_state.tally.comparisons += 1
                return
            if time.monotonic() - begun > CATCH_UP_TIMEOUT_SECONDS:
                self.fault(f"{device.name} shows a chat that differs from its history: {'; '.join(lasting)}")
                return
            await asyncio.sleep(COMPARE_PAUSE_SECONDS)


class Device:
    """One device: a socket that reconnects after every loss, and a picture of what it shows."""

    def __init__(self, person: Person, name: str) -> None:
        self.person = person
        self.name = name
        self.picture: Picture = CustomerPicture() if person.role == "customer" else MitraPicture()
        self.epoch: str | None = None
        self.seq = 0
        # When the current connection received its welcome; None while there is none.
        self.live_since: float | None = None
        self._closing = False
        self._socket: ClientWebSocketResponse | None = None
        # The last seq that arrived on this connection, and the one in the last hello.
        self._received = 0
        self._hello_seq = 0
        self._hello_under_way = False
        self._deaf = False
        self._counted = False
        self._changed = asyncio.Event()

    def is_live(self) -> bool:
        """Whether the device is connected and has received its welcome."""
        return self.live_since is not None

    # Waiting -----------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait for a condition, which is tested after each change; False when the time is up."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def wake(self) -> None:
        """Make every waiting task test its condition again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # The network -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay connected until `close`."""
        tally = self.person.run_state.tally
        while not self._closing:
            try:
                await self._connected()
            except (aiohttp.ClientError, OSError, TimeoutError):
                tally.network_errors += 1
            if not self._closing:
                await asyncio.sleep(self.person.dice.uniform(0.1, 1.5))

    async def close(self) -> None:
        """Close the socket, and do not reconnect."""
        self._closing = True
        if self._socket is not None:
            await self._socket.close()

    async def lose_network(self, deaf_seconds: float) -> None:
        """Ignore all frames for `deaf_seconds`, as without reception; then cut the connection without a close frame."""
        if self._socket is None or self.live_since is None:
            return
        self.person.run_state.tally.networks_lost += 1
        self.live_since = None
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
        headers, query = self.person.authorization, ""
        if self.person.dice.random() < 0.3:
            ticket = await self.person.post("/realtime-ticket")
            if not ticket.ok:
                return
            headers, query = {}, f"?ticket={ticket.body['ticket']}"
        url = f"{run_state.url.replace('http', 'ws', 1)}{self.person.base}/realtime{query}"
        async with run_state.http.ws_connect(
            url, headers=headers, autoclose=True, max_msg_size=0
        ) as connection:
            self._socket = connection
            try:
                await self.say_hello()
                await self._listen(connection)
            finally:
                self._socket = None
                self._deaf = False
                self.live_since = None
                run_state.tally.connected[self.person.role] -= self._counted
                self._counted = False

    async def _listen(self, connection: ClientWebSocketResponse) -> None:
        while True:
            message = await connection.receive()
            if message.type is not WSMsgType.TEXT:
                break
            if self._deaf:
                continue  # lost, as everything on this connection
            await self.take(msgspec.json.decode(message.data))
        code = connection.close_code
        if code is not None and not self._closing:
            self.person.run_state.tally.closes[code] += 1
            if code in FAULTY_CLOSES:
                self.person.fault(f"{self.name}: the server closed the socket with {code}")

    # Frames ------------------------------------------------------------------------------------------------

    async def _send(self, frame: Data) -> None:
        if self._socket is not None and not self._socket.closed:
            await self._socket.send_str(msgspec.json.encode(frame).decode())

    async def say_hello(self) -> None:
        """Send the seq of the last applied event. The server answers with a welcome and the later events."""
        self._hello_seq = self.seq
        self._hello_under_way = True
        seq = None if self.epoch is None else self.seq
        await self._send({"op": "hello", "epoch": self.epoch, "seq": seq, "device_id": self.name})

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
                    self.person.run_state.tally.hellos_after_ping += 1
                    await self.say_hello()
            case "welcome":
                await self._take_welcome(frame)
            case "error":
                self.person.fault(f"{self.name}: {frame}")

    async def _take_welcome(self, welcome: Data) -> None:
        tally = self.person.run_state.tally
        first = self.epoch is None
        if welcome["resumed"]:
            self._received = self._hello_seq
            tally.resumed += 1
        else:
            self._received = welcome["seq"]
            tally.restored += not first
            await self._restore()
        if isinstance(self.picture, MitraPicture):
            self.picture.show_cards(welcome["requests"])
        self._hello_under_way = False
        if self.live_since is None:
            self.live_since = time.perf_counter()
        if not self._counted:
            self._counted = True
            tally.connected[self.person.role] += 1
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
        seq = event["seq"]
        if seq is None:
            self.person.run_state.tally.cards += 1
            self.picture.apply(event["type"], event["data"])
            self._picture_changed()
            return
        if seq != self._received + 1:
            self.person.fault(f"{self.name}: event {seq} came after {self._received}")
        self._received = seq
        if seq <= self.seq:
            return
        self.seq = seq
        self.person.run_state.tally.events += 1
        self.picture.apply(event["type"], event["data"])
        if event["type"] == "message.created":
            self._note_delay(event["data"])
        self._picture_changed()

    def _note_delay(self, message: Data) -> None:
        sent = self.person.run_state.sent.get(message["client_message_id"])
        if sent is None or sent[0] == self.person.role:
            return
        # A device that was not connected when the message was sent does not count.
        if self.live_since is not None and self.live_since < sent[1]:
            self.person.run_state.tally.message_delays.append(time.perf_counter() - sent[1])
            del self.person.run_state.sent[message["client_message_id"]]

    def _picture_changed(self) -> None:
        self.wake()
        self.person.picture_changed(self)


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return None


def _shape(path: str) -> str:
    """Return a path without ids and query."""
    return "/".join("…" if len(part) == 36 else part for part in path.partition("?")[0].split("/"))
