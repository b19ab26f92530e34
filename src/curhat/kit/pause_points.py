"""Named points at which a test can stop, delay or kill the program. In production, each point runs only one `if`."""

from collections.abc import Awaitable, Callable

_handlers: dict[str, Callable[[], Awaitable[None]]] = {}


async def pause_point(name: str) -> None:
    """Run the handler that a test has set for this point. If no handler is set, do nothing."""
    if _handlers and name in _handlers:
        await _handlers[name]()


def set_pause_point(name: str, handler: Callable[[], Awaitable[None]] | None) -> None:
    """Run `handler` whenever the program reaches the point `name`. Only tests call this function.

    If `handler` is None, remove the handler of this point.
    """
    if handler is None:
        _handlers.pop(name, None)
    else:
        _handlers[name] = handler
