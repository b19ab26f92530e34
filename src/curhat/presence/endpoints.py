"""The endpoints for the toggle, a mitra's own profile and the availability poll."""

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from curhat.content.texts.errors import AcceptanceNeeded
from curhat.kit.database import Database
from curhat.kit.errors import AcknowledgementNeeded, PresenceUnknown, ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, problems
from curhat.kit.pause_points import pause_point
from curhat.presence.schemas import Availability, BreakOrder, MitraPresence, MitraProfile, PresenceChange
from curhat.presence.service import Presence, begin_break, mitra_state, set_intent


@put(
    "/api/mitra/presence",
    tags=["presence"],
    responses=problems(
        *MITRA_SIGNED_IN, AcceptanceNeeded, AcknowledgementNeeded, ValidationFailed, PresenceUnknown
    ),
)
async def set_presence(
    data: JSONBody[PresenceChange],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
) -> MitraPresence:
    """Go online or offline. The server answers after the mitra's availability shows the change.

    A mitra who has not accepted the newest texts cannot go online: 409 `acceptance_needed` (P.1).
    A mitra with a warning must first acknowledge it (T.4): 409 `acknowledgement_needed`, with the notices' ids.

    The answer 503 `presence_unknown` means that the toggle is saved and in force. For example, a mitra who is now
    offline cannot accept. The mitra's availability does not show the change yet, but will show the change even
    without another request. A client should repeat the request, which is safe.
    """
    async with database.transaction() as tx:
        state = await set_intent(tx, mitra.user_id, data.online, presence.hooks.intent_changed)
    await pause_point("presence.intent_committed")
    await presence.refresh([mitra.user_id])
    return await presence.view(state)


@put(
    "/api/mitra/break",
    tags=["presence"],
    responses=problems(*MITRA_SIGNED_IN, ValidationFailed, PresenceUnknown),
)
async def take_break(
    data: JSONBody[BreakOrder],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
) -> MitraPresence:
    """Go offline for a break, and be reminded at `break_until` (M.3). A repeated request begins the break again.

    The break has the consequences of the toggle: requests are withdrawn, and extensions are rejected. It ends when the
    mitra sets the toggle. The answer 503 `presence_unknown` has the meaning that it has for the toggle.
    """
    async with database.transaction() as tx:
        state = await begin_break(tx, mitra.user_id, data.minutes, presence.hooks.intent_changed)
    await presence.refresh([mitra.user_id])
    return await presence.view(state)


@get("/api/mitra/me", tags=["presence"], responses=problems(*MITRA_SIGNED_IN))
async def get_mitra_profile(
    mitra: NamedDependency[Identity], database: NamedDependency[Database], presence: NamedDependency[Presence]
) -> MitraProfile:
    """Return the mitra's own name and presence. While presence is unknown, `connected` is false."""
    state = await mitra_state(database, mitra.user_id)
    shown = msgspec.structs.asdict(await presence.view(state))
    return MitraProfile(id=state.id, display_name=state.display_name, **shown)


@get("/api/client/mitra-availability", tags=["presence"])
async def get_mitra_availability(presence: NamedDependency[Presence]) -> Availability:
    """Whether any mitra is available (1.2). If presence is unknown, the answer is no (1.6). Needs no sign-in.

    In the running service, `availability_poll.py` answers this request before the framework.
    """
    try:
        return Availability(available=await presence.count_available() > 0)
    except PresenceUnknown:
        return Availability(available=False)


ROUTES: list[BaseRouteHandler] = [set_presence, take_break, get_mitra_profile, get_mitra_availability]
