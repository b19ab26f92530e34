"""A fake of Presence. The test sets its answers."""

from collections.abc import Sequence
from uuid import UUID

from curhat.kit.errors import PresenceUnknown
from curhat.presence.store import FrameAges


class FakePresence:
    """Knows the mitras that the test gives. Raises PresenceUnknown while `unknown` is set."""

    def __init__(self, *may_be_asked: UUID) -> None:
        self.mitras = list(may_be_asked)
        self.unknown = False
        # What presence knows about the frames of every mitra: connected all the time.
        self.frames = FrameAges(last_frame=0, heard_since=86_400, present_since=86_400)

    async def ask_candidates(self) -> list[UUID]:
        """The mitras who may be asked."""
        if self.unknown:
            raise PresenceUnknown
        return self.mitras

    async def count_available(self) -> int:
        """How many mitras may be asked."""
        return len(await self.ask_candidates())

    async def may_be_asked(self, mitra_id: UUID) -> bool:
        """Whether this mitra may be asked."""
        return mitra_id in await self.ask_candidates()

    async def is_counted(self, person_id: UUID) -> bool:
        """Whether this person is counted."""
        return await self.may_be_asked(person_id)

    async def is_connected(self, mitra_id: UUID) -> bool:
        """Whether this mitra is connected. Every mitra who may be asked is connected."""
        return mitra_id in await self.ask_candidates()

    async def frame_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        """The frames of each mitra who may be asked."""
        return {mitra_id: [self.frames] for mitra_id in await self.connected_among(mitra_ids)}

    async def connected_among(self, mitra_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these mitras are connected."""
        return {mitra_id for mitra_id in mitra_ids if await self.is_connected(mitra_id)}
