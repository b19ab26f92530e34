"""Presence in Valkey. Each operation runs one script (`presence.lua`) once per batch.

Guarantees:
    Every call returns or raises PresenceUnknown within CALL_TIMEOUT_SECONDS.
    `believe_no` decides whether an answer "nobody" can be believed. Valkey may have lost its data, or may have missed
    heartbeats. So `believe_no` raises PresenceUnknown for UNSURE_SECONDS after a failed call, and after Valkey was
    emptied.
    A write can be repeated, come late, or come out of order. Valkey keeps the newest frame and the newest version.
    Valkey holds no fact about money or sessions. If Valkey is wiped, the next heartbeats restore all data.
    If Valkey's clock is set back, the leases that were written earlier do not count. The next reports restore these
    leases.
    A call that Valkey runs late, for example after Valkey was stopped, never makes a lease longer. Every call contains
    the time of Valkey's clock at which the call was sent, and ages count from this time.
Relies on:
    Availability versions never decrease. After a failover or a restore to an earlier time, PostgreSQL has a new
    timeline, and its versions are higher than all versions of the old timeline. A restored dump can contain lower
    versions, so empty Valkey after the restore of a dump.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import structlog
import valkey.asyncio
from prometheus_client import Counter
from valkey.exceptions import NoScriptError, ValkeyError

from curhat.kit.errors import PresenceUnknown
from curhat.presence.queries import MitraState
from curhat.presence.states import (
    COME_BACK_SECONDS,
    CUSTOMER_CONNECTED_SECONDS,
    HEARTBEAT_SECONDS,
    MAY_BE_ASKED_SECONDS,
    MITRA_CONNECTED_SECONDS,
    MITRA_HEARD_SECONDS,
    PUSH_REACHABLE_SECONDS,
)

log = structlog.get_logger(__name__)

AVAILABLE_KEY = "curhat:available"
MITRA_KEY_PREFIX = "curhat:mitra:"
CUSTOMERS_KEY = "curhat:customers"
FILLING_KEY = "curhat:filling"

# Limits how long a caller waits if Valkey does not answer.
CALL_TIMEOUT_SECONDS = 1
# Within this time after an outage or a loss of its data, Valkey has every mitra again. The time is
# PUSH_RECONCILE_INTERVAL_SECONDS and a margin.
UNSURE_SECONDS = 7.0
# One run of the script handles at most MAX_BATCH_SIZE mitras or customers. One run blocks Valkey for about a
# millisecond.
MAX_BATCH_SIZE = 100
MAX_PRUNED_MEMBERS = 1000
# A key expires if no process writes to it for KEY_TTL_SECONDS. A mitra stays reachable by push for less than
# KEY_TTL_SECONDS.
KEY_TTL_SECONDS = PUSH_REACHABLE_SECONDS + 300

# If a time in Valkey lies more than MAX_CLOCK_STEP_SECONDS in the future, Valkey's clock was set back after the time
# was written. Smaller steps are normal.
MAX_CLOCK_STEP_SECONDS = 0.5

_WINDOWS = {
    "MAY_BE_ASKED_MS": MAY_BE_ASKED_SECONDS,
    "CONNECTED_MS": MITRA_CONNECTED_SECONDS,
    "HEARD_MS": MITRA_HEARD_SECONDS,
    "COME_BACK_MS": COME_BACK_SECONDS,
    "HEARTBEAT_MS": HEARTBEAT_SECONDS,
    "MAX_CLOCK_STEP_MS": MAX_CLOCK_STEP_SECONDS,
    "CUSTOMER_CONNECTED_MS": CUSTOMER_CONNECTED_SECONDS,
    "KEY_TTL_MS": KEY_TTL_SECONDS,
}
_LUA = Path(__file__).with_name("presence.lua").read_text(encoding="utf-8")
_SCRIPT = "".join(f"local {name} = {seconds * 1000}\n" for name, seconds in _WINDOWS.items()) + _LUA
# Valkey names a script by its SHA-1. The hash protects no secret.
_SCRIPT_NAME = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_errors = Counter(
    "curhat_presence_valkey_errors_total",
    "Presence calls that Valkey did not answer in time, or refused.",
    ["operation"],
)

Item = TypeVar("Item")


class Report(NamedTuple):
    """The times at which a connection was opened, received its last frame, and closed.

    The times are of `time.monotonic`.

    `closed_at` is None before the close.
    """

    mitra_id: UUID
    connection_id: str
    opened_at: float
    last_frame: float
    closed_at: float | None


class FrameAges(NamedTuple):
    """The times of the frames of one connection, as Valkey knows them, in seconds before now.

    `last_frame` is the time of the last frame. `heard_since` is the time since which frames came without a gap of
    MITRA_HEARD_SECONDS. `present_since` is the time since which the mitra was present. Since `present_since`, no gap
    between two connections was as long as COME_BACK_SECONDS.
    """

    last_frame: float
    heard_since: float
    present_since: float


class Standing(NamedTuple):
    """Whether a mitra can be asked now (1.1), and whether the mitra is connected now (5.6)."""

    may_be_asked: bool
    connected: bool


class Applied(NamedTuple):
    """A mitra's standing after a state was applied.

    `mark` is set while the mitra can be asked and the open blasts have not all been offered to the mitra. A mark stays
    until `offered` removes it, so a process that dies in between loses nothing.
    """

    standing: Standing
    mark: str


class PresenceStore:
    """The presence keys in Valkey. All processes share them. Every method raises PresenceUnknown if Valkey fails."""

    def __init__(self, client: "valkey.asyncio.Valkey") -> None:
        # This annotation types the method, because the client's own signature has no types.
        self._execute: Callable[..., Awaitable[Any]] = client.execute_command
        # The operations that are failing, each with the time of its first failure. We log when an outage begins and
        # when it ends.
        self._failing_since: dict[str, float] = {}
        # The id that Valkey has had since it was last empty. None: not known yet.
        self._filling: bytes | None = None
        # Until this time of `time.monotonic`, Valkey may lack mitras who can be asked.
        self._unsure_until = -math.inf
        # A lower limit of the number of ms by which Valkey's clock is ahead of `time.monotonic`. None: unknown. Each
        # answer contains Valkey's time, which is a little older than the answer's arrival. So each answer gives a lower
        # limit of the difference between the clocks.
        self._clock_ahead_ms: float | None = None

    async def report(self, reports: Sequence[Report]) -> set[UUID]:
        """Renew and end leases. Returns the mitras without a state in Valkey.

        The caller must apply the states of these mitras.
        """
        unknown: set[UUID] = set()
        for batch in _batches(reports):
            arguments: list[str | int] = []
            # Read the clock for each batch, because a call can take a second.
            now = time.monotonic()
            for mitra_id, connection_id, opened_at, last_frame, closed_at in batch:
                arguments += (
                    str(mitra_id),
                    connection_id,
                    int((now - opened_at) * 1000),
                    int((now - last_frame) * 1000),
                    "" if closed_at is None else int((now - closed_at) * 1000),
                )
            answer = await self._call("report", [report.mitra_id for report in batch], arguments, at=now)
            unknown.update(UUID(mitra.decode()) for mitra in answer)
        return unknown

    async def apply(self, states: Sequence[MitraState]) -> list[Applied]:
        """Write each state, but skip a mitra of whom Valkey has a newer state.

        Returns the standings and marks in the order of `states`.
        """
        applied: list[Applied] = []
        for batch in _batches(states):
            arguments: list[str | int] = []
            for state in batch:
                push_ms = int(state.push_reachable_seconds * 1000)
                arguments += (
                    str(state.id),
                    state.availability_version,
                    int(state.can_take_customer),
                    push_ms,
                    int(state.suspended),
                )
            answer = await self._call("apply", [state.id for state in batch], arguments)
            for may_be_asked, connected, mark in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
                applied.append(Applied(Standing(bool(may_be_asked), bool(connected)), mark.decode()))
        return applied

    async def offered(self, marks: Mapping[UUID, str]) -> None:
        """Remove these mitras' marks, because all open blasts have been offered to these mitras.

        Keeps the mark of a mitra who has become newly available again meanwhile.
        """
        for batch in _batches(list(marks)):
            await self._call("offered", batch, [marks[mitra_id] for mitra_id in batch])

    async def look(self, mitra_id: UUID) -> Standing:
        """Return the standing of one mitra."""
        return (await self.look_at([mitra_id]))[0]

    async def look_at(self, mitra_ids: Sequence[UUID]) -> list[Standing]:
        """Return the standings of many mitras, in the order of `mitra_ids`."""
        standings: list[Standing] = []
        for batch in _batches(mitra_ids):
            standings += _standings(await self._call("look", batch, [str(mitra_id) for mitra_id in batch]))
        return standings

    async def frame_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        """Return what is known about the frames of each mitra's connections. Omits mitras without a connection.

        A connection that closed less than COME_BACK_SECONDS ago counts.
        """
        ages: dict[UUID, list[FrameAges]] = {}
        for batch in _batches(mitra_ids):
            answer = await self._call("heard", batch, [str(mitra_id) for mitra_id in batch])
            for mitra_id, found in zip(batch, answer, strict=True):
                seconds = [ms / 1000 for ms in found]
                if seconds:
                    ages[mitra_id] = [FrameAges(*seconds[i : i + 3]) for i in range(0, len(seconds), 3)]
        return ages

    async def heard_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, float | None]:
        """Return how many seconds ago each mitra was last known to be connected. None: unknown."""
        ages: dict[UUID, float | None] = {}
        for batch in _batches(mitra_ids):
            answer = await self._call("heard_ages", batch, [str(mitra_id) for mitra_id in batch])
            for mitra_id, ms in zip(batch, answer, strict=True):
                ages[mitra_id] = None if ms < 0 else ms / 1000
        return ages

    async def customers_seen(self, customer_ids: Sequence[UUID], for_seconds: float) -> None:
        """Treat these customers as connected for `for_seconds` from now.

        A later call for a customer overrides an earlier call.
        """
        for batch in _batches(customer_ids):
            arguments: list[str | int] = [int(for_seconds * 1000), *map(str, batch)]
            await self._call("customers_seen", [], arguments, CUSTOMERS_KEY)

    async def customers_connected(self, customer_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these customers are connected now."""
        found: set[UUID] = set()
        for batch in _batches(customer_ids):
            answer = await self._call("customers_connected", [], list(map(str, batch)), CUSTOMERS_KEY)
            found.update(each for each, connected in zip(batch, answer, strict=True) if connected)
        return found

    async def candidates(self) -> list[UUID]:
        """Return every mitra who can be asked now."""
        return [UUID(mitra.decode()) for mitra in await self._call("candidates", [], [])]

    async def count(self) -> int:
        """Return how many mitras can be asked now."""
        return int(await self._call("count", [], []))

    def believe_no(self) -> None:
        """Raise PresenceUnknown if Valkey may say "no" only because it lacks what the processes know."""
        if time.monotonic() < self._unsure_until:
            raise PresenceUnknown

    async def prune(self) -> int:
        """Remove at most MAX_PRUNED_MEMBERS mitras who can no longer be asked. Returns the number of removed mitras.

        This method always writes. So even a process without mitras notices that Valkey refuses heartbeats.
        """
        return int(await self._call("prune", [], [MAX_PRUNED_MEMBERS]))

    async def _call(
        self,
        operation: str,
        mitra_ids: Sequence[UUID],
        arguments: Sequence[str | int],
        *more_keys: str,
        at: float | None = None,
    ) -> Any:
        # The time of `time.monotonic` from which the ages and durations of `arguments` count.
        at = time.monotonic() if at is None else at
        mitra_keys = [f"{MITRA_KEY_PREFIX}{mitra_id}" for mitra_id in mitra_ids]
        keys = [AVAILABLE_KEY, *mitra_keys, *more_keys, FILLING_KEY]
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                if self._clock_ahead_ms is None:
                    await self._run_script(at, [AVAILABLE_KEY, FILLING_KEY], "clock")
                answer = await self._run_script(at, keys, operation, *arguments)
        except (ValkeyError, OSError) as error:
            _errors.labels(operation).inc()
            self._unsure_until = time.monotonic() + UNSURE_SECONDS
            if operation not in self._failing_since:
                self._failing_since[operation] = time.monotonic()
                log.warning("presence.valkey_failing", operation=operation, error=repr(error))
            raise PresenceUnknown from error
        since = self._failing_since.pop(operation, None)
        if since is not None:
            log.info("presence.valkey_back", operation=operation, seconds=round(time.monotonic() - since, 1))
        return answer

    async def _run_script(self, at: float, keys: Sequence[str], *arguments: str | int) -> Any:
        sent_ms = "" if self._clock_ahead_ms is None else int(at * 1000 + self._clock_ahead_ms)
        rest = (len(keys), *keys, *arguments, sent_ms)
        try:
            valkey_ms, answer, filling = await self._execute("EVALSHA", _SCRIPT_NAME, *rest)
        except NoScriptError:
            valkey_ms, answer, filling = await self._execute("EVAL", _SCRIPT, *rest)
        if self._filling not in (None, filling):
            self._unsure_until = time.monotonic() + UNSURE_SECONDS
            log.warning("presence.valkey_was_emptied")
        self._filling = filling
        ahead_ms = valkey_ms - time.monotonic() * 1000
        # Keep the highest lower limit. If the limit implies that Valkey answered before the call was sent, Valkey's
        # clock was set back, and the limit is wrong.
        if self._clock_ahead_ms is None or (sent_ms != "" and valkey_ms < sent_ms):
            self._clock_ahead_ms = ahead_ms
        else:
            self._clock_ahead_ms = max(self._clock_ahead_ms, ahead_ms)
        return answer


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), MAX_BATCH_SIZE):
        yield items[start : start + MAX_BATCH_SIZE]


def _standings(answer: Sequence[int]) -> Iterator[Standing]:
    for may_be_asked, connected in zip(answer[::2], answer[1::2], strict=True):
        yield Standing(bool(may_be_asked), bool(connected))
