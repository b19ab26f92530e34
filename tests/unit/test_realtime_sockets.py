"""Test the order of frames and the bounds of one socket, on a transport that the test can block."""

import asyncio
from uuid import UUID

import pytest

from curhat.kit.asgi import Message
from curhat.kit.identity import Identity
from curhat.realtime import sockets
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.sockets import Socket, Stalled
from tests.support.realtime import FakeHooks

SESSION = UUID(int=1)


class Transport:
    """Replaces the ASGI server in a test. The fake server accepts frames until a test calls `fill`."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.sent: list[str] = []
        self.closed_with: int | None = None
        self.error: Exception | None = None

    async def send(self, message: Message) -> None:
        """Accept a frame. While the transport is full, wait first, as uvicorn's `send` does."""
        await self.writable.wait()
        if self.error is not None:
            raise self.error
        if message["type"] == "websocket.close":
            self.closed_with = message["code"]
        else:
            self.sent.append(message["text"])

    def fill(self) -> None:
        """Make the transport full. A full transport accepts no more frames until the test sets `writable`."""
        self.writable.clear()


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
async def socket(transport: Transport) -> Socket:
    who = SocketIdentity(identity=Identity(role="mitra", user_id=UUID(int=2)), token_digest=b"digest")
    return Socket(who, transport.send, FakeHooks())


def closed_with(socket: Socket) -> int | None:
    """Return the close code, or None. Tests read the attribute through this function.

    After `assert socket.close_code is None`, mypy would assume None in the rest of the test.
    """
    return socket.close_code


async def test_a_frame_is_sent_immediately_without_a_task_or_a_queue(
    socket: Socket, transport: Transport
) -> None:
    tasks = asyncio.all_tasks()
    socket.send("one")
    socket.send("two")
    assert transport.sent == ["one", "two"]
    assert not socket.has_backlog
    assert socket._queue is None
    assert asyncio.all_tasks() == tasks
    assert not hasattr(socket, "__dict__")


async def test_frames_keep_their_order_while_the_transport_is_full(
    socket: Socket, transport: Transport
) -> None:
    transport.fill()
    for number in range(5):
        socket.send(str(number))
    assert transport.sent == []
    assert socket.has_backlog
    transport.writable.set()
    await socket.flush()
    socket.send("5")
    assert transport.sent == ["0", "1", "2", "3", "4", "5"]
    assert not socket.has_backlog


async def test_the_257th_waiting_frame_closes_the_socket_with_4409(
    socket: Socket, transport: Transport
) -> None:
    transport.fill()
    socket.send("with the transport")
    for number in range(256):
        socket.send(str(number))
    assert not closed_with(socket)
    socket.send("too many")
    assert closed_with(socket) == 4409
    transport.writable.set()
    await socket.flush()
    async with asyncio.timeout(5):
        while transport.closed_with is None:
            await asyncio.sleep(0)
    assert transport.closed_with == 4409
    assert transport.sent == []


async def test_frames_of_up_to_one_mebibyte_can_wait(socket: Socket, transport: Transport) -> None:
    transport.fill()
    socket.send("with the transport")
    socket.send("é" * (512 * 1024))
    assert not closed_with(socket)
    socket.send("x")
    assert closed_with(socket) == 4409


async def test_the_queue_has_room_again_after_its_frames_are_sent(
    socket: Socket, transport: Transport
) -> None:
    for _ in range(3):
        transport.fill()
        socket.send("with the transport")
        for _ in range(200):
            socket.send("x" * 5000)
        transport.writable.set()
        await socket.flush()
    assert socket.close_code is None
    assert len(transport.sent) == 603


async def test_each_sent_frame_frees_its_bytes_while_the_queue_never_becomes_empty() -> None:
    room = asyncio.Semaphore(0)
    sent = 0

    async def send(_message: Message) -> None:
        nonlocal sent
        await room.acquire()
        sent += 1

    who = SocketIdentity(identity=Identity(role="mitra", user_id=UUID(int=2)), token_digest=b"digest")
    socket = Socket(who, send, FakeHooks())
    for _ in range(10):
        socket.send("x" * 100_000)
    for number in range(1, 50):
        room.release()
        async with asyncio.timeout(5):
            while sent < number:
                await asyncio.sleep(0)
        assert socket.has_backlog
        socket.send("x" * 100_000)
    assert closed_with(socket) is None
    socket.close(1012)
    room.release()


@pytest.mark.parametrize("error", [OSError(), RuntimeError()])
async def test_sending_to_a_disconnected_client_is_not_an_error(
    socket: Socket, transport: Transport, error: Exception
) -> None:
    transport.error = error
    socket.send("one")
    transport.fill()
    socket.send("two")
    socket.send("three")
    transport.writable.set()
    await socket.flush()
    socket.close(1012)
    await asyncio.sleep(0)
    assert not transport.sent


async def test_a_socket_closes_with_the_first_close_code_and_sends_no_later_frame(
    socket: Socket, transport: Transport
) -> None:
    socket.close(4401)
    socket.close(1012)
    socket.send("late")
    async with asyncio.timeout(5):
        while transport.closed_with is None:
            await asyncio.sleep(0)
    assert transport.closed_with == 4401
    assert transport.sent == []


async def test_flushing_raises_stalled_when_the_reader_takes_nothing(
    socket: Socket, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "STALL_TIMEOUT_SECONDS", 0.01)
    transport.fill()
    socket.send("one")
    with pytest.raises(Stalled):
        await socket.flush()


async def test_five_hellos_in_ten_seconds_are_allowed(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    assert [socket.allows_hello() for _ in range(6)] == [True] * 5 + [False]
    now += 10.0
    for _ in range(20):
        assert socket.allows_hello()
        now += 2.1


async def test_a_typing_signal_is_allowed_once_per_session_every_2_seconds(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    assert socket.allows_typing(SESSION)
    assert not socket.allows_typing(SESSION)
    assert socket.allows_typing(UUID(int=3))
    now += 1.9
    assert not socket.allows_typing(SESSION)
    now += 0.1
    assert socket.allows_typing(SESSION)
    assert socket._typing_forwarded_at is not None
    assert len(socket._typing_forwarded_at) == 1
