"""Named points at which a test can stop, delay or kill the program; in production they cost one look-up.

The names are part of the tests' vocabulary: `await pause_point("confirm.before_charge")`.
"""

from collections.abc import Awaitable, Callable

_handlers: dict[str, Callable[[], Awaitable[None]]] = {}


async def pause_point(name: str) -> None:
    """Do what a test asked for at this point; nothing otherwise."""
    if _handlers:
        handler = _handlers.get(name)
        if handler is not None:
            await handler()


def set_pause_point(name: str, handler: Callable[[], Awaitable[None]] | None) -> None:
    """For tests: run `handler` whenever `name` is reached; None takes it away."""
    if handler is None:
        _handlers.pop(name, None)
    else:
        _handlers[name] = handler
