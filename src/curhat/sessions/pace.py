"""The limits of the messages that one person sends: 20 in 5 s and 60 in a minute (X.13).

Guarantees:
    Through one server process, nobody exceeds a limit. Through several processes, a person can exceed a limit by at
    most `unchecked` messages per additional process. Only the first `unchecked` messages that a process sends for a
    person in a window can exceed a limit.
How it works:
    Each process counts the messages that it sends for a person. Most people write slowly, so most messages need only
    the count of their process. A person who writes fast can write through other processes too. So after the first
    `unchecked` messages of a window, `send_messages` also counts the messages that PostgreSQL has stored.
    A repeated message is no new message, but it costs PostgreSQL as much. So each process also counts all tries of a
    person, and refuses those beyond MAX_TRIES in TRY_WINDOW_SECONDS.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from time import monotonic
from typing import Final, NamedTuple

from curhat.kit.errors import too_many_until
from curhat.kit.identity import Identity


class Limit(NamedTuple):
    """At most `max_messages` in each window of `window_seconds`.

    The first `unchecked` messages need no count by PostgreSQL.
    """

    window_seconds: float
    max_messages: int
    unchecked: int


LIMITS: Final = (Limit(5, 20, 10), Limit(60, 60, 30))
# A device with 20 unsent messages that comes back to the network needs 20 tries, and a few devices do this together.
MAX_TRIES: Final = 60
TRY_WINDOW_SECONDS: Final = 5.0
LONGEST_WINDOW_SECONDS: Final = max(limit.window_seconds for limit in LIMITS)
MAX_MESSAGES_PER_WINDOW: Final = max(limit.max_messages for limit in LIMITS)


def wait_seconds(ages: Sequence[float]) -> float:
    """Return how long a person must wait before the next message; 0 if the person need not wait.

    `ages` has the seconds since each recent message of the person, the newest message first.
    """
    waits = [
        each.window_seconds - ages[each.max_messages - 1] for each in LIMITS if len(ages) >= each.max_messages
    ]
    return max([0.0, *waits])


class _Sent(NamedTuple):
    at: float
    key: Hashable


class Entry(NamedTuple):
    """A message that its sender is allowed to send now. `is_counted` is true if this entry has counted the message.

    `is_fast` is true if PostgreSQL must count too.
    """

    is_counted: bool
    is_fast: bool


class Pace:
    """For each person, the recent messages that the person has sent through this process.

    All times come from the monotonic clock.
    """

    def __init__(self) -> None:
        # The last person in this mapping is the person who sent most recently. The list of each person begins with the
        # newest message.
        self._people: OrderedDict[Identity, deque[_Sent]] = OrderedDict()
        # The times of each person's last tries, oldest first. The last person is the person who tried most recently.
        self._tries: OrderedDict[Identity, deque[float]] = OrderedDict()

    def admit(self, sender: Identity) -> None:
        """Count a try to send any message, also a repeated or invalid one. Raises TooManyRequests."""
        now = monotonic()
        while self._tries and now - next(iter(self._tries.values()))[-1] >= TRY_WINDOW_SECONDS:
            self._tries.popitem(last=False)
        tries = self._tries.setdefault(sender, deque(maxlen=MAX_TRIES))
        wait = TRY_WINDOW_SECONDS - (now - tries[0]) if len(tries) == MAX_TRIES else 0.0
        if wait > 0:
            raise too_many_until(wait)
        tries.append(now)
        self._tries.move_to_end(sender)

    def enter(self, sender: Identity, key: Hashable) -> Entry:
        """Count a message of this person. If the person writes fast, PostgreSQL must count too.

        `key` identifies the message. A repeated message is not counted again. Raises TooManyRequests.
        """
        now = monotonic()
        self._forget_before(now - LONGEST_WINDOW_SECONDS)
        sent = self._people.setdefault(sender, deque(maxlen=MAX_MESSAGES_PER_WINDOW))
        is_counted = not any(each.key == key for each in sent)
        if is_counted:
            wait = wait_seconds([now - each.at for each in sent])
            if wait > 0:
                raise too_many_until(wait)
            sent.appendleft(_Sent(now, key))
            self._people.move_to_end(sender)
        is_fast = any(
            len(sent) > limit.unchecked and now - sent[limit.unchecked].at < limit.window_seconds
            for limit in LIMITS
        )
        return Entry(is_counted, is_fast)

    def leave(self, sender: Identity, key: Hashable) -> None:
        """Undo the count of a message that another process had already sent before `enter` counted the message."""
        sent = self._people.get(sender)
        if sent is not None:
            kept = [each for each in sent if each.key != key]
            sent.clear()
            sent.extend(kept)

    def _forget_before(self, at: float) -> None:
        """Forget people without a message since `at`. The work is proportional to the number of forgotten people."""
        while self._people:
            sender, sent = next(iter(self._people.items()))
            if sent and sent[0].at >= at:
                return
            del self._people[sender]
