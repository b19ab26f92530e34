"""The HTTP operations on ratings. A mitra rates nobody, and a customer sees no ratings of others."""

from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, WITH_KEY, answers
from curhat.safety.ratings import service
from curhat.safety.ratings.errors import RatingClosed
from curhat.safety.ratings.schemas import NewRating, Rating, RatingState, RatingSums

Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@post(
    "/api/client/sessions/{session_id:uuid}/rating",
    status_code=201,
    responses=answers({201: Rating}, *WITH_KEY, NotFound, ValidationFailed, RatingClosed),
)
async def rate_session(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[NewRating],
) -> Response[bytes]:
    """Say how a chat was, for 7 days after it. A later answer replaces the earlier one (T.6)."""
    return await command(
        request,
        database,
        customer,
        lambda tx: service.rate(tx, customer.user_id, session_id, data),
        status=201,
    )


@get(
    "/api/client/sessions/{session_id:uuid}/rating",
    responses=answers({200: RatingState}, *SIGNED_IN, NotFound),
)
async def get_session_rating(
    database: NamedDependency[Database], customer: Customer, session_id: FromPath[UUID]
) -> RatingState:
    """Return the customer's own rating of a chat, and whether the chat can be rated now."""
    async with database.transaction() as tx:
        return await service.rating_state(tx, customer.user_id, session_id)


@get("/api/mitra/ratings", responses=answers({200: RatingSums}, *MITRA_SIGNED_IN))
async def list_rating_sums(database: NamedDependency[Database], mitra: Mitra) -> RatingSums:
    """Return sums of the ratings of the mitra's chats, by weeks of Asia/Jakarta, newest first (T.6)."""
    async with database.transaction() as tx:
        return await service.sums_of_mitra(tx, mitra.user_id)


ROUTES: list[BaseRouteHandler] = [rate_session, get_session_rating, list_rating_sums]
