"""Sends one-time codes to phones: the port, the order of the senders, and the senders that need no network.

The senders to real phones are in whatsapp.py and twilio.py. To add a sender, see CONTRIBUTING.md.

Guarantees:
    The senders of CURHAT_CODE_SENDERS are tried in turn, until one of them accepts the code. If no sender accepts the
    code, but one sender possibly sent it, the code counts as sent. When a person asks again because no code came, the
    next sender is tried first. So a person without WhatsApp also gets a code, although WhatsApp accepts codes that it
    cannot deliver.
    After TOTAL_TIMEOUT_SECONDS, no further sender is tried. One process sends at most MAX_SENDS_RUNNING codes at the
    same time. A sender that fails repeatedly is tried last for a while, so that its timeouts do not delay people.
    The outcome never depends on whether the phone number is known, because this module reads no table of people.
    No log and no metric contains a code, a text or a phone number.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from curhat.accounts import queries
from curhat.accounts.codes import RESEND_SECONDS, VALID_SECONDS
from curhat.accounts.errors import CodeNotSent
from curhat.accounts.schemas import InboxMessage
from curhat.kit.database import Database
from curhat.kit.settings import FILE_SENDER

log = structlog.get_logger(__name__)

# The timeout for one sender is short, because a person is waiting at the screen.
SEND_TIMEOUT_SECONDS: Final = 4.0
# After TOTAL_TIMEOUT_SECONDS, no further sender is tried for a code.
TOTAL_TIMEOUT_SECONDS: Final = 9.0
# One process sends at most MAX_SENDS_RUNNING codes at the same time. If a sender hangs for 4 s, 50 places still serve
# 12 people per second.
MAX_SENDS_RUNNING: Final = 50
# A sender with MAX_FAILURES_IN_A_ROW failures in a row is tried last for REST_SECONDS.
MAX_FAILURES_IN_A_ROW: Final = 3
REST_SECONDS: Final = 30.0

SENDS: Final = Counter(
    "curhat_code_sends_total", "Tries to send a one-time code, by sender and outcome.", ["sender", "outcome"]
)
SENDS_RUNNING: Final = Gauge("curhat_code_sends_running", "One-time codes that this process is sending.")
SENDERS_RESTING: Final = Gauge(
    "curhat_code_senders_resting", "Senders of one-time codes that failed again and again and are tried last."
)

# The reasons why a sender has certainly not sent a code.
# `number`: the sender cannot reach this phone number. `limit`: we sent too many codes. `unavailable`: the sender is
# down or unreachable. `refused`: the sender refuses our request, for example because our token has expired. A person
# must look at the cause of each `refused`.
NotSentBecause = Literal["number", "limit", "unavailable", "refused"]


class Sent(msgspec.Struct, frozen=True):
    """The sender has accepted the code."""


class NotSent(msgspec.Struct, frozen=True):
    """The sender has certainly not sent the code.

    `detail` is for the log, so it contains no secret and no phone number.
    """

    because: NotSentBecause
    detail: str


class MaybeSent(msgspec.Struct, frozen=True):
    """The sender's answer was lost, so the code can still arrive."""

    detail: str


Outcome = Sent | NotSent | MaybeSent


class CodeSender(Protocol):
    """Sends codes to phones. The endpoints call `send` between transactions, after they have committed the code."""

    async def send(self, phone_number: str, code: str) -> Outcome:
        """Send a code to an E.164 number.

        The call ends within a limited time. A faulty answer of the provider raises no error.
        """

    async def close(self) -> None:
        """Close the connections."""


class CodeSenders:
    """Sends each code through the first sender that accepts the code. Call `close` at the end."""

    def __init__(
        self, senders: Mapping[str, CodeSender], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._senders = dict(senders)
        self._clock = clock
        self._running = 0
        self._failures = dict.fromkeys(self._senders, 0)
        self._resting_until: dict[str, float] = {}
        SENDS_RUNNING.set_function(lambda: self._running)
        SENDERS_RESTING.set_function(lambda: len(self._resting()))

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the MAX_SENDS_RUNNING places for sending a code.

        Callers take the place before they make the code, so that a refusal uses up no code.

        Raises CodeNotSent if no place is free.
        """
        if self._running >= MAX_SENDS_RUNNING:
            log.warning("accounts.code_senders_busy", running=self._running)
            raise CodeNotSent(retry_after_seconds=5)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def send(self, phone_number: str, code: str, *, earlier_codes: int = 0) -> str:
        """Send a code to an E.164 number, and return the sender's name.

        `earlier_codes` counts the codes that the person has asked for and not used. Raises CodeNotSent if it is certain
        that no sender sent the code.
        """
        maybe: str | None = None
        deadline = self._clock() + TOTAL_TIMEOUT_SECONDS
        for name in self.order(earlier_codes):
            if self._clock() >= deadline:
                break
            outcome = await self._try(name, phone_number, code)
            if isinstance(outcome, Sent):
                return name
            if isinstance(outcome, MaybeSent):
                maybe = maybe or name
        if maybe is not None:
            return maybe
        raise CodeNotSent(retry_after_seconds=RESEND_SECONDS)

    def order(self, earlier_codes: int) -> Sequence[str]:
        """Return the senders' names in the order in which they are tried."""
        names = list(self._senders)
        first = earlier_codes % len(names)
        turned = names[first:] + names[:first]
        resting = self._resting()
        return [name for name in turned if name not in resting] + [name for name in turned if name in resting]

    async def close(self) -> None:
        """Close the connections of every sender."""
        for sender in self._senders.values():
            await sender.close()

    async def _try(self, name: str, phone_number: str, code: str) -> Outcome:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                outcome = await self._senders[name].send(phone_number, code)
        except TimeoutError:
            outcome = MaybeSent("timeout")
        label = outcome.because if isinstance(outcome, NotSent) else _LABELS[type(outcome)]
        SENDS.labels(name, label).inc()
        if isinstance(outcome, Sent) or label == "number":
            self._failures[name] = 0
            self._resting_until.pop(name, None)
        else:
            self._failures[name] += 1
            if self._failures[name] >= MAX_FAILURES_IN_A_ROW:
                self._resting_until[name] = self._clock() + REST_SECONDS
        if not isinstance(outcome, Sent):
            write = log.error if label == "refused" else log.warning
            write("accounts.code_not_accepted", sender=name, outcome=label, detail=outcome.detail)
        return outcome

    def _resting(self) -> set[str]:
        now = self._clock()
        return {name for name, until in self._resting_until.items() if until > now}


_LABELS: Final[Mapping[type[Outcome], str]] = {Sent: "sent", MaybeSent: "maybe_sent"}


class DevelopmentInbox:
    """Keeps the newest 20 texts to each phone in a database table that a developer can read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, phone_number: str, code: str) -> Outcome:
        """Put the text into the inbox, and keep only the newest 20 texts to this phone."""
        async with self._database.transaction() as tx:
            await queries.insert_inbox_message(tx, phone_number=phone_number, text=code_text(code), code=code)
            await queries.prune_inbox(tx, phone_number=phone_number)
        return Sent()

    async def messages(self, phone_number: str) -> list[InboxMessage]:
        """Return the texts to this phone, newest first."""
        stored = await queries.list_inbox(self._database, phone_number=phone_number)
        return msgspec.convert(stored, list[InboxMessage], from_attributes=True)

    async def close(self) -> None:
        """Do nothing, because the caller closes the database."""


class CodesInFile:
    """Appends each code to a file, for rehearsals of production. Only the file's owner can read the codes.

    Each line is a JSON object with `phone_number` and `code`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, phone_number: str, code: str) -> Outcome:
        """Append the code.

        Each code is written as one line in one write, so the lines of several processes never mix.
        """
        line = msgspec.json.encode({"phone_number": phone_number, "code": code}) + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)  # The file perhaps existed with another mode.
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            return NotSent("refused", error.strerror or type(error).__name__)
        return Sent()

    async def close(self) -> None:
        """Do nothing: no file is open."""


def file_of(name: str) -> Path | None:
    """Return the path of a sender `file:PATH`, and None for every other sender."""
    return Path(name.removeprefix(FILE_SENDER)) if name.startswith(FILE_SENDER) else None


def code_text(code: str) -> str:
    """Return the text message that contains this code."""
    return (
        f"Kode masuk Curhat kamu: {code}. Berlaku {VALID_SECONDS // 60} menit. "
        "Jangan beri tahu siapa pun, termasuk yang mengaku dari Curhat."
    )
