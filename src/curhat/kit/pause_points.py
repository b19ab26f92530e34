"""Named points at which a test can stop, delay or kill the program. In production each costs one `if`.

Tests refer to the names: `await pause_point("confirm.before_charge")`.
"""

from collections.abc import Awaitable, Callable

_handlers: dict[str, Callable[[], Awaitable[None]]] = {}


async def pause_point(name: str) -> None:
    """Run the handler that a test set for this point, if any."""
    if _handlers:
        handler = _handlers.get(name)
        if handler is not None:
            await handler()


def set_pause_point(name: str, handler: Callable[[], Awaitable[None]] | None) -> None:
    """Run `handler` whenever the point `name` is reached; None removes it. For tests."""
    if handler is None:
        _handlers.pop(name, None)
    else:
        _handlers[name] = handler
