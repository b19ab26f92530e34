"""A fake of Presence. The test sets the answers of this fake."""

from collections.abc import Sequence
from uuid import UUID

from curhat.kit.errors import PresenceUnknown
from curhat.presence.store import FrameAges


class FakePresence:
    """This presence knows only the mitras whom the test gives. Raises PresenceUnknown while `unknown` is set."""

    def __init__(self, *may_be_asked: UUID) -> None:
        self.mitras = list(may_be_asked)
        self.unknown = False
        # The frame ages of each mitra. Each mitra has been connected for a whole day.
        self.frames = FrameAges(last_frame=0, heard_since=86_400, present_since=86_400)

    async def ask_candidates(self) -> list[UUID]:
        """Return the mitras who can be asked."""
        if self.unknown:
            raise PresenceUnknown
        return self.mitras

    async def count_available(self) -> int:
        """Return the number of mitras who can be asked."""
        return len(await self.ask_candidates())

    async def may_be_asked(self, mitra_id: UUID) -> bool:
        """Return whether this mitra can be asked."""
        return mitra_id in await self.ask_candidates()

    def believe_no(self) -> None:
        """Believe every "no". This fake lacks no mitra."""

    async def count_among(self, person_ids: Sequence[UUID]) -> int:
        """Return how many of these people are counted."""
        return sum([await self.may_be_asked(person_id) for person_id in person_ids])

    async def is_connected(self, mitra_id: UUID) -> bool:
        """Return whether this mitra is connected. In this fake, every mitra who can be asked is connected."""
        return mitra_id in await self.ask_candidates()

    async def frame_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        """Return the frame ages of each mitra who can be asked."""
        return {mitra_id: [self.frames] for mitra_id in await self.connected_among(mitra_ids)}

    async def connected_among(self, mitra_ids: Sequence[UUID]) -> set[UUID]:
        """Return the mitras of this list who are connected."""
        return {mitra_id for mitra_id in mitra_ids if await self.is_connected(mitra_id)}
