"""The toggle, a mitra's own profile, and the availability poll's entry in the contract."""

import msgspec
from litestar import get, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown, ValidationFailed
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, problems
from curhat.kit.pause_points import pause_point
from curhat.presence.schemas import Availability, MitraPresence, MitraProfile, PresenceChange
from curhat.presence.service import Presence, mitra_state, set_intent


@put(
    "/api/mitra/presence",
    operation_id="set_presence",
    tags=["presence"],
    responses=problems(*MITRA_SIGNED_IN, ValidationFailed, PresenceUnknown),
)
async def set_presence(
    request: AnyRequest,
    data: JSONBody[PresenceChange],
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
) -> MitraPresence:
    """Go online or offline. Answered when availability shows it.

    A 503 `presence_unknown` says that the toggle is saved, and in force wherever PostgreSQL is asked (who is
    offline by intent can accept nothing), while availability could not be told: it follows by itself. Asking
    again is safe, and is what a client should do.
    """
    try:
        # Decode it again, strictly: the framework takes "false" and 0 for a bool.
        msgspec.json.decode(await request.body(), type=PresenceChange)
    except msgspec.ValidationError as error:
        raise ValidationFailed(errors=[{"field": "online", "message": "must be true or false"}]) from error
    async with database.transaction() as tx:
        state = await set_intent(tx, mitra.user_id, data.online)
    await pause_point("presence.intent_committed")
    await presence.refresh([mitra.user_id])
    return await presence.view(state)


@get(
    "/api/mitra/me",
    operation_id="get_mitra_profile",
    tags=["presence"],
    responses=problems(*MITRA_SIGNED_IN),
)
async def get_mitra_profile(
    mitra: NamedDependency[Identity], database: NamedDependency[Database], presence: NamedDependency[Presence]
) -> MitraProfile:
    """Who I am, and how I stand. While presence is unknown, `connected` is false."""
    state = await mitra_state(database, mitra.user_id)
    standing = await presence.view(state)
    return MitraProfile(
        id=state.id,
        display_name=state.display_name,
        online=standing.online,
        connected=standing.connected,
        active_sessions=standing.active_sessions,
        max_customers=standing.max_customers,
    )


@get(
    "/api/client/mitra-availability",
    operation_id="get_mitra_availability",
    tags=["presence"],
)
async def get_mitra_availability(presence: NamedDependency[Presence]) -> Availability:
    """Whether anybody is there (1.2); unknown is no (1.6). Needs no sign-in.

    In the running service `availability_poll.py` answers this before the framework is asked.
    """
    try:
        return Availability(available=await presence.count_available() > 0)
    except PresenceUnknown:
        return Availability(available=False)


ROUTES: list[BaseRouteHandler] = [set_presence, get_mitra_profile, get_mitra_availability]
