"""The mitras' request cards. Each server process shows the open requests to its connected mitras.

Cards are level-triggered. `refresh` compares the open requests in PostgreSQL with the shown requests, and sends the
difference. After a signal, `refresh` runs for the mitras that the signal names. Every LOOK_AGAIN_SECONDS, `refresh`
runs for all mitras with a socket in this process. So a lost signal delays a card by at most LOOK_AGAIN_SECONDS.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
import structlog

from curhat.kit.database import DATABASE_AWAY, Database, Executor
from curhat.pairing import queries
from curhat.pairing.events import REQUEST_CLOSED, REQUEST_OFFERED
from curhat.pairing.queries import ClosedRequest, OpenRequest
from curhat.pairing.schemas import Request
from curhat.pairing.states import CloseReason, decided_outcome
from curhat.realtime.hub import Hub

log = structlog.get_logger(__name__)

# If a signal was lost, a card can be wrong for LOOK_AGAIN_SECONDS.
LOOK_AGAIN_SECONDS = 2.0


async def open_requests(db: Executor, mitra_ids: Sequence[UUID]) -> dict[UUID, list[Request]]:
    """Return the open requests of each mitra, oldest first. A mitra without open requests is absent."""
    requests: dict[UUID, list[Request]] = {}
    for row in await queries.list_open_requests(db, mitra_ids=mitra_ids):
        requests.setdefault(row.mitra_id, []).append(_request_from(row))
    return requests


class Cards:
    """The cards that this process has sent to its connected mitras."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._shown: dict[UUID, dict[UUID, Request]] = {}
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def handle_signal(self, payload: bytes) -> None:
        """Handle the signal `requests`. `run` then refreshes the mitras whose ids are in the payload."""
        held = self._hub.held("mitra")
        changed = {each for each in msgspec.json.decode(payload, type=list[UUID]) if each in held}
        if changed:
            self._changed |= changed
            self._wake.set()

    async def welcome(self, mitra_id: UUID) -> list[Request]:
        """Return the mitra's open requests, for a socket that says hello. The hub has already registered the socket.

        If the mitra has other devices, first send these devices the requests that have changed.
        """
        if mitra_id in self._shown:
            await self.refresh([mitra_id])
        async with self._one_at_a_time:
            requests = (await open_requests(self._database, [mitra_id])).get(mitra_id, [])
            # If another device is connected, keep the record of the requests that the other device shows. The next
            # refresh compares the open requests with this record, and sends the changes.
            self._shown.setdefault(mitra_id, {request.id: request for request in requests})
            return requests

    async def run(self) -> None:
        """Refresh the mitras in each signal. Every LOOK_AGAIN_SECONDS, refresh all connected mitras.

        Runs until cancelled.
        """
        loop = asyncio.get_running_loop()
        look_again_at = loop.time() + LOOK_AGAIN_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(look_again_at):
                    await self._wake.wait()
            mitra_ids: Iterable[UUID] = self._changed
            # Check the clock even if a signal ended the wait. Otherwise frequent signals could postpone the refresh of
            # all mitras forever. The refresh of all mitras repairs the loss of signals.
            if loop.time() >= look_again_at:
                mitra_ids = self._hub.held("mitra")
                self._forget_gone_mitras()
                look_again_at = loop.time() + LOOK_AGAIN_SECONDS
            self._wake.clear()
            self._changed = set()
            try:
                await self.refresh(list(mitra_ids))
            except DATABASE_AWAY as error:
                log.warning("cards.not_refreshed", error=type(error).__name__)
            except Exception:
                # An error must not end this loop. Otherwise mitras would get no more cards. The next refresh tries
                # again.
                log.exception("cards.failed")

    def _forget_gone_mitras(self) -> None:
        held = self._hub.held("mitra")
        for gone in [each for each in self._shown if each not in held]:
            del self._shown[gone]

    async def refresh(self, mitra_ids: Sequence[UUID]) -> None:
        """Send these mitras the requests that opened or closed since the last refresh of their cards."""
        async with self._one_at_a_time:
            held = self._hub.held("mitra")
            mitra_ids = [mitra_id for mitra_id in mitra_ids if mitra_id in held]
            if not mitra_ids:
                return
            now_open = await open_requests(self._database, mitra_ids)
            shown: dict[UUID, Request] = {}
            for mitra_id in mitra_ids:
                shown |= self._shown.get(mitra_id, {})
            vanished = list(shown.keys() - {request.id for each in now_open.values() for request in each})
            rows = (
                await queries.list_closed_requests(self._database, request_ids=vanished) if vanished else []
            )
            closed = [
                (row.mitra_id, msgspec.structs.replace(_request_from(row), close_reason=_why_closed(row)))
                for row in rows
            ]
            # The code below does not read the database and cannot fail. So the record of shown requests agrees with the
            # events that were sent.
            for mitra_id in mitra_ids:
                requests = now_open.get(mitra_id, [])
                for request in requests:
                    known = shown.get(request.id)
                    if known is None or known.call_name != request.call_name:
                        self._hub.send_unsequenced(REQUEST_OFFERED.to_mitra(mitra_id, request))
                self._shown[mitra_id] = {request.id: request for request in requests}
            for mitra_id, request in closed:
                self._hub.send_unsequenced(REQUEST_CLOSED.to_mitra(mitra_id, request))


def _why_closed(row: ClosedRequest) -> CloseReason:
    """Return why a card closed. The card of an undecided request closed because of the mitra's own state."""
    outcome = decided_outcome(row.request_status, row.close_reason, row.pairing_status, row.failure_tag)
    if outcome is not None:
        return outcome
    if row.is_suspended:
        return "suspended"
    if row.is_offline:
        return "went_offline"
    return "at_capacity" if row.is_full else "timed_out"


def _request_from(row: OpenRequest | ClosedRequest) -> Request:
    return msgspec.convert(row, Request, from_attributes=True)
