"""Fakes of presence and of the gateway. Presence can be down or stale, and the gateway keeps its own records."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.payments.gateway import ChargeAnswer, GatewayUnknown, ListedCharge, ListedRefund, RefundAnswer
from curhat.presence.queries import MitraState
from curhat.presence.schemas import MitraPresence
from curhat.presence.states import COME_BACK_SECONDS, MITRA_CONNECTED_SECONDS, MITRA_HEARD_SECONDS
from curhat.presence.store import FrameAges

AVAILABLE = """
SELECT id FROM mitras
WHERE (id = ANY($1::uuid[]) OR push_ready) AND can_take_customer
ORDER BY id
"""


class SimulatedPresence:
    """Answers as Presence does. The answer of the fake can be slightly old, like the answer of Valkey."""

    def __init__(self, database: Database, random_source: random.Random) -> None:
        self._database = database
        self._random = random_source
        self._before: list[UUID] = []
        self.connected: set[UUID] = set()
        # The time when each connection was lost, by the virtual clock. After the loss, the mitra has COME_BACK_SECONDS
        # to reconnect.
        self.lost_at: dict[UUID, datetime] = {}
        # The time at which each dead phone died, by the virtual clock. The sockets of the dead phones are still open.
        self.silent_since: dict[UUID, datetime] = {}
        # The start and the end of each absence, oldest first. An absence that has not ended is in `lost_at` or
        # `silent_since`.
        self.absences: dict[UUID, list[tuple[datetime, datetime]]] = {}
        self.unknown = False

    async def came_back(self, mitra_id: UUID) -> None:
        """A mitra's phone connects again, on a new socket."""
        gone_at = self.silent_since.pop(mitra_id, None) or self.lost_at.pop(mitra_id, None)
        if gone_at is not None:
            now: datetime = await self._database.fetchval("SELECT curhat_now()")
            self.absences.setdefault(mitra_id, []).append((gone_at, now))
        self.connected.add(mitra_id)

    def clock_was_set_back(self, by: timedelta) -> None:
        """Move all times back by `by`.

        The presence of production measures ages, so a jump of the database's clock does not change the ages.
        """
        for times in (self.lost_at, self.silent_since):
            times.update({mitra_id: at - by for mitra_id, at in times.items()})
        for mitra_id, absences in self.absences.items():
            self.absences[mitra_id] = [(gone_at - by, back_at - by) for gone_at, back_at in absences]

    def _since(self, mitra_id: UUID, gap_seconds: float) -> datetime:
        """Return the end of the mitra's last absence of at least `gap_seconds`.

        If no such absence exists, return a past time.
        """
        gap = timedelta(seconds=gap_seconds)
        ends = [back_at for gone_at, back_at in self.absences.get(mitra_id, []) if back_at - gone_at >= gap]
        return max(ends, default=datetime(2000, 1, 1, tzinfo=UTC))

    async def ask_candidates(self) -> list[UUID]:
        """Return the mitras who can be asked now. Sometimes returns the stale answer of the previous call."""
        if self.unknown:
            raise PresenceUnknown
        rows = await self._database.fetch(AVAILABLE, list(self.connected))
        now = [row["id"] for row in rows]
        answer = self._before if self._random.random() < 0.15 else now
        self._before = now
        return answer

    async def count_available(self) -> int:
        """Return the number of mitras who can be asked."""
        return len(await self.ask_candidates())

    async def may_be_asked(self, mitra_id: UUID) -> bool:
        """Return whether this mitra can be asked."""
        return mitra_id in await self.ask_candidates()

    def believe_no(self) -> None:
        """Believe every "no". This fake lacks no mitra."""

    async def count_among(self, person_ids: Sequence[UUID]) -> int:
        """Return how many of these people `count_available` counts."""
        return len(set(person_ids) & set(await self.ask_candidates()))

    async def is_connected(self, mitra_id: UUID) -> bool:
        """Return whether this mitra is connected (5.6).

        A mitra with an open socket is connected if the phone sent a frame recently. Without an open socket, the mitra
        is connected for COME_BACK_SECONDS after the close.
        """
        found = (await self.frame_ages([mitra_id])).get(mitra_id, [])
        return any(each.last_frame < MITRA_CONNECTED_SECONDS for each in found)

    async def frame_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        """Return the frame ages of each mitra with a connection or with time left to reconnect.

        A phone that works answers immediately.
        """
        if self.unknown:
            raise PresenceUnknown
        now: datetime = await self._database.fetchval("SELECT curhat_now()")
        ages = {}
        for mitra_id in mitra_ids:
            last_frame = self.silent_since.get(mitra_id, now)
            if mitra_id not in self.connected:
                lost_at = self.lost_at.get(mitra_id)
                if lost_at is None or now >= lost_at + timedelta(seconds=COME_BACK_SECONDS):
                    continue
                last_frame = min(last_frame, lost_at)
            # The presence of production measures ages, so a jump of the database's clock does not change the ages.
            times = (
                last_frame,
                self._since(mitra_id, MITRA_HEARD_SECONDS),
                self._since(mitra_id, COME_BACK_SECONDS),
            )
            ages[mitra_id] = [FrameAges(*(max(0.0, (now - at).total_seconds()) for at in times))]
        return ages

    async def heard_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, float | None]:
        """Return how many seconds ago each mitra was last known to be connected (X.11)."""
        if self.unknown:
            raise PresenceUnknown
        now: datetime = await self._database.fetchval("SELECT curhat_now()")
        gone_at = {each: self.silent_since.get(each) or self.lost_at.get(each) for each in mitra_ids}
        return {each: 0.0 if at is None else (now - at).total_seconds() for each, at in gone_at.items()}

    def holds_mitras(self) -> bool:
        """Return whether a server process holds a socket of a mitra."""
        return True

    def heard_here(self, mitra_ids: Sequence[UUID], _within_seconds: float) -> dict[UUID, float]:
        """Return which of these mitras a server process hears now, and how many seconds ago."""
        return {each: 0.0 for each in mitra_ids if each in self.connected and each not in self.silent_since}

    async def connected_among(self, mitra_ids: Sequence[UUID]) -> set[UUID]:
        """Return the mitras of this list who are connected."""
        return {mitra_id for mitra_id in mitra_ids if await self.is_connected(mitra_id)}

    async def view(self, state: MitraState) -> MitraPresence:
        """Return a mitra's presence in the form that devices show."""
        return MitraPresence(
            online=state.online,
            connected=state.id in self.connected and not self.unknown,
            active_sessions=state.active_sessions,
            max_customers=state.max_customers,
            break_until=state.break_until,
        )


class SimulatedGateway:
    """A gateway under the virtual clock.

    The fake gateway decides the charge of each key once. The argument `trouble` scales the probability of faults.
    """

    def __init__(self, database: Database, random_source: random.Random, trouble: float = 1.0) -> None:
        self._database = database
        self._random = random_source
        self._trouble = trouble

    async def charge(
        self, key: UUID, payment_id: UUID, amount_rp: int, customer_id: UUID | None = None
    ) -> ChargeAnswer:
        """See Gateway. The first call with a key decides the charge."""
        await self._database.execute(
            """
            INSERT INTO mock_gateway.charges (key, payment_id, amount_rp, status, known_at, at, customer_id)
            VALUES ($1, $2, $3, $4, curhat_now() + make_interval(secs => $5), curhat_now(), $6)
            ON CONFLICT (key) DO NOTHING
            """,
            key,
            payment_id,
            amount_rp,
            "declined" if self._random.random() < 0.2 * self._trouble else "approved",
            # The possible delays of an answer in seconds: no delay, and delays beyond three limits. The limits are the
            # caller's wait, the time limit of an extension's charge, and the server's wait for a session's charge.
            self._random.choices(
                [0.0, 7.0, 40.0, 2_000.0], [8, self._trouble, self._trouble, self._trouble / 2]
            )[0],
            customer_id,
        )
        return await self.find_charge(key)

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        """See Gateway. Sometimes raises GatewayUnknown."""
        if self._random.random() < 0.1 * self._trouble:
            raise GatewayUnknown
        status = await self._database.fetchval(
            """
            SELECT CASE WHEN known_at > curhat_now() THEN 'processing' ELSE status END
            FROM mock_gateway.charges WHERE key = $1
            """,
            key,
        )
        return ChargeAnswer(status or "not_found")

    async def refund(self, key: UUID, charge_key: UUID, payment_id: UUID, amount_rp: int) -> RefundAnswer:
        """See Gateway.

        The first call with a key decides the refund. The refund is done or refused, immediately or later.

        Sometimes the first answer is wrong. A wrong first answer is `failed`, and every later answer is `done`.
        """
        is_new = await self._database.fetchval(
            """
            INSERT INTO mock_gateway.refunds (key, charge_key, payment_id, amount_rp, status, known_at, at)
            VALUES ($1, $2, $3, $4, $5, curhat_now() + make_interval(secs => $6), curhat_now())
            ON CONFLICT (key) DO NOTHING RETURNING true
            """,
            key,
            charge_key,
            payment_id,
            amount_rp,
            "failed" if self._random.random() < min(0.5 * self._trouble, 0.6) else "done",
            self._random.choices([0.0, 30.0, 3_600.0], [8, self._trouble, self._trouble])[0],
        )
        answer = await self.find_refund(key)
        if is_new and answer.status == "done" and self._random.random() < min(0.3 * self._trouble, 0.5):
            return RefundAnswer("failed")
        return answer

    async def find_refund(self, key: UUID) -> RefundAnswer:
        """See Gateway. Sometimes raises GatewayUnknown, in order to simulate a lost answer."""
        if self._random.random() < 0.15 * self._trouble:
            raise GatewayUnknown
        status = await self._database.fetchval(
            """
            SELECT CASE WHEN known_at > curhat_now() THEN 'processing' ELSE status END
            FROM mock_gateway.refunds WHERE key = $1
            """,
            key,
        )
        return RefundAnswer(status or "not_found")

    async def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        """See Gateway."""
        for row in await self._database.fetch(
            """
            SELECT key, payment_id, customer_id, amount_rp,
                CASE WHEN known_at > curhat_now() THEN 'processing' ELSE status END AS status, at
            FROM mock_gateway.charges WHERE at >= $1
            """,
            since,
        ):
            yield ListedCharge(**row)

    async def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        """See Gateway."""
        for row in await self._database.fetch(
            """
            SELECT key, charge_key, payment_id, amount_rp,
                CASE WHEN known_at > curhat_now() THEN 'processing' ELSE status END AS status, at
            FROM mock_gateway.refunds WHERE at >= $1
            """,
            since,
        ):
            yield ListedRefund(**row)

    async def close(self) -> None:
        """See Gateway."""

    async def any_key(self) -> UUID | None:
        """Return the key of a random charge."""
        rows = await self._database.fetch("SELECT key FROM mock_gateway.charges ORDER BY at, key")
        return self._random.choice(rows)["key"] if rows else None

    async def refund_keys(self) -> list[UUID]:
        """Return the keys of all refunds, oldest first."""
        return [
            row["key"]
            for row in await self._database.fetch("SELECT key FROM mock_gateway.refunds ORDER BY at, key")
        ]
