"""The WebSocket endpoint.

The endpoint is a plain ASGI callable, because a framework would use more memory per open socket.
"""

import asyncio
from typing import Final

import structlog

from curhat.kit.asgi import Receive, Scope, Send
from curhat.kit.database import DATABASE_AWAY
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Role
from curhat.realtime import protocol
from curhat.realtime.hooks import SocketHooks, SocketIdentity
from curhat.realtime.hub import Hub
from curhat.realtime.metrics import CLOSES, FRAMES_RECEIVED
from curhat.realtime.protocol import Hello, SendMessage, TypingSignal, UnreadableFrame
from curhat.realtime.sockets import Socket, Stalled

log = structlog.get_logger(__name__)

PATHS: Final[dict[str, Role]] = {"/api/client/realtime": "customer", "/api/mitra/realtime": "mitra"}


class RealtimeEndpoint:
    """Serves WebSocket connections on the two realtime paths, and closes WebSocket connections on other paths.

    The ASGI server must bound the frames of a client, as `websocket.BoundedWebSocket` does.
    """

    def __init__(self, hub: Hub, hooks: SocketHooks) -> None:
        self._hub = hub
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, from its opening to its end."""
        role = PATHS.get(scope["path"])
        await receive()
        if role is None:
            await send({"type": "websocket.close"})
            return
        # A browser does not tell a page why a handshake failed. So accept the socket, then close the socket with the
        # reason.
        owner, code = await self._authenticate(role, scope)
        try:
            await send({"type": "websocket.accept"})
            if owner is None:
                CLOSES.labels(code=str(code)).inc()
                await send({"type": "websocket.close", "code": code})
                return
        except OSError:
            return  # The client has already disconnected.
        socket = Socket(owner, send, self._hooks)
        self._hub.add(socket)
        try:
            await self._listen(socket, receive)
        except asyncio.CancelledError:
            if not socket.was_dropped():
                raise
        finally:
            self._hub.remove(socket)
            await socket.ended()

    async def _authenticate(self, role: Role, scope: Scope) -> tuple[SocketIdentity | None, int]:
        try:
            return await self._hooks.authenticate(role, scope), protocol.SIGNED_OUT
        except (PresenceUnknown, *DATABASE_AWAY) as error:
            log.warning("realtime.not_authenticated", error=type(error).__name__)
            return None, protocol.TRY_AGAIN_LATER
        except Exception:
            log.exception("realtime.authentication_failed")
            return None, protocol.OUR_FAULT

    async def _listen(self, socket: Socket, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                if socket.close_code is None:
                    code = message["code"]
                    CLOSES.labels(code=str(code) if code in protocol.BAD_FRAMES else "client").inc()
                return
            if socket.close_code is not None:
                continue
            FRAMES_RECEIVED.inc()
            socket.last_frame_at = asyncio.get_running_loop().time()
            await self._handle(socket, message.get("text") or message.get("bytes") or b"")

    async def _handle(self, socket: Socket, text: str | bytes) -> None:
        try:
            if socket.welcomed:
                self._hooks.frame_received(socket.owner.identity, socket.connection_id)
            await self._act(socket, protocol.read(text))
        except UnreadableFrame as error:
            socket.send(protocol.write(protocol.Error(code="validation_failed", detail=str(error))))
        except Stalled:
            socket.close(protocol.TOO_SLOW, "say hello again")
        except DATABASE_AWAY as error:
            log.warning("realtime.frame_not_handled", error=type(error).__name__)
            socket.close(protocol.TRY_AGAIN_LATER)
        except Exception:
            log.exception("realtime.frame_failed")
            socket.close(protocol.OUR_FAULT)

    async def _act(self, socket: Socket, frame: protocol.ClientFrame) -> None:
        identity = socket.owner.identity
        if isinstance(frame, SendMessage):
            # Does not wait for the commit, so that the socket's later frames do not wait either.
            self._hooks.send_message(identity, frame, socket.send_frame)
        elif isinstance(frame, Hello):
            if not self._hub.allows_hello(socket):
                socket.close(protocol.TOO_FAST, "too many hellos")
                return
            await self._hub.answer_hello(socket, frame)
            if not socket.welcomed and socket.close_code is None:
                socket.welcomed = True
                await self._hooks.opened(identity, socket.connection_id)
        elif isinstance(frame, TypingSignal) and socket.welcomed:
            await self._hub.forward_typing(socket, frame.session_id)
