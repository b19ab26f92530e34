"""A server or worker that kills itself with `kill -9` at a named pause point of the product.

`python -m tests.support.killed serve|worker [--kill-at POINT]` is `curhat serve|worker`, except that it is killed at

    accept.before_commit                        the first time it is reached
    deadline.before_commit:40                   the 40th time; the 39 before it go on
    idempotency.stored*9                        when nine have arrived there; the eight before it wait for the end
    accept.before_commit>transaction.committed  the second point, counting those only who came through the first

tests/support/processes.py starts it. Nothing is imported here that the product does not need: it starts as fast.
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
_came_through: ContextVar[bool] = ContextVar("came_through", default=False)


def kill_at(text: str) -> None:
    """Have this process kill itself at the point that `text` names. Raises ValueError."""
    found = _POINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} names no point to be killed at")
    first, number, others_wait = found["first"], int(found["number"] or 1), found["how"] == "*"
    arrived = 0

    async def come_through() -> None:
        _came_through.set(True)

    async def arrive() -> None:
        nonlocal arrived
        if first is not None and not _came_through.get():
            return
        arrived += 1
        if arrived == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if others_wait or arrived == number:
            await asyncio.Event().wait()

    if first is not None:
        set_pause_point(first, come_through)
    set_pause_point(found["point"], arrive)


def main() -> int:
    """The command described above."""
    parser = argparse.ArgumentParser(prog="tests.support.killed")
    parser.add_argument("command", choices=("serve", "worker"))
    parser.add_argument("--kill-at", metavar="POINT", type=kill_at)
    return curhat([parser.parse_args().command])


if __name__ == "__main__":
    sys.exit(main())
