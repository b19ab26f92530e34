"""The cheapest WebSocket server. The server accepts each socket and does nothing else."""

from bench.peers.asgi import Receive, Scope, Send, answer_ok, lifespan


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI connection."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await answer_ok(send)
    else:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
