"""Runs a server or worker that kills itself with `kill -9`, or stops itself, at a named pause point of the product.

`python -m tests.support.killed serve|worker [--kill-at POINT | --stop-at POINT]` runs `curhat serve|worker`. The
process kills itself at POINT, or stops itself at POINT (SIGSTOP) until the test lets it continue. POINT has one of four
forms.

`accept.before_commit` means the first time that a task reaches this pause point.
`deadline.before_commit:40` means the 40th time that a task reaches this pause point. The 39 earlier tasks continue.
`idempotency.stored*9` means that nine tasks have arrived. The eight earlier tasks wait at the pause point.
`accept.before_commit>transaction.committed` means that a task has passed the first pause point and reaches the second.

The module tests/support/processes.py starts this module. This module imports only the modules that the product needs.
The process therefore starts as fast as the product.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from contextvars import ContextVar
from typing import Final

from curhat.app.cli.main import main as curhat
from curhat.kit.pause_points import set_pause_point

_POINT: Final = re.compile(
    r"(?:(?P<first>[\w.]+)>)?(?P<point>[\w.]+)(?:(?P<how>[:*])(?P<number>[1-9][0-9]*))?"
)
_passed_first: ContextVar[bool] = ContextVar("came_through", default=False)


def kill_at(text: str) -> None:
    """Make this process kill itself at the point that `text` describes. Raises ValueError."""
    _signal_at(text, signal.SIGKILL)


def stop_at(text: str) -> None:
    """Make this process stop itself at the point that `text` describes. Raises ValueError."""
    _signal_at(text, signal.SIGSTOP)


def _signal_at(text: str, number_of_signal: signal.Signals) -> None:
    found = _POINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} describes no pause point")
    first, number, others_wait = found["first"], int(found["number"] or 1), found["how"] == "*"
    arrived = 0

    async def pass_first() -> None:
        _passed_first.set(True)

    async def arrive() -> None:
        nonlocal arrived
        if first is not None and not _passed_first.get():
            return
        arrived += 1
        if arrived == number:
            os.kill(os.getpid(), number_of_signal)
        if others_wait or (arrived == number and number_of_signal == signal.SIGKILL):
            await asyncio.Event().wait()

    if first is not None:
        set_pause_point(first, pass_first)
    set_pause_point(found["point"], arrive)


def main() -> int:
    """Run the command that the docstring of this module describes."""
    parser = argparse.ArgumentParser(prog="tests.support.killed")
    parser.add_argument("command", choices=("serve", "worker"))
    parser.add_argument("--kill-at", metavar="POINT", type=kill_at)
    parser.add_argument("--stop-at", metavar="POINT", type=stop_at)
    return curhat([parser.parse_args().command])


if __name__ == "__main__":
    sys.exit(main())
