"""The HTTP operations with which a mitra looks back at the own work."""

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from curhat.journeys import work
from curhat.journeys.schemas import PastRequest, WorkSummary
from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, answers
from curhat.kit.page import Page

Mitra = NamedDependency[Identity]


@get("/api/mitra/summary", responses=answers({200: WorkSummary}, *MITRA_SIGNED_IN, ValidationFailed))
async def get_work_summary(
    database: NamedDependency[Database], mitra: Mitra, zone: FromQuery[str | None] = None
) -> WorkSummary:
    """Return the mitra's work of today, this week and this month (M.1).

    `zone` is the viewer's IANA time zone, such as Asia/Makassar. Without it, the days are those of Asia/Jakarta.
    """
    async with database.transaction(snapshot=True) as tx:
        return await work.summary(tx, mitra.user_id, zone)


@get(
    "/api/mitra/requests/history",
    responses=answers({200: Page[PastRequest]}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def list_past_requests(
    database: NamedDependency[Database], mitra: Mitra, cursor: FromQuery[str | None] = None
) -> Page[PastRequest]:
    """Return the requests that this mitra got, newest first, with how each ended (M.1)."""
    async with database.transaction() as tx:
        return await work.past_requests(tx, mitra.user_id, cursor)


ROUTES: list[BaseRouteHandler] = [get_work_summary, list_past_requests]
