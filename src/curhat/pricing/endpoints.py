"""The HTTP endpoint that lists the offers."""

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.openapi import SIGNED_IN, answers
from curhat.pricing import service
from curhat.pricing.schemas import OfferList, Purpose


@get(
    "/api/client/pricing",
    operation_id="list_offers",
    tags=["customer"],
    responses=answers({200: OfferList}, *SIGNED_IN, ValidationFailed),
)
async def list_offers(
    purpose: FromQuery[Purpose], database: NamedDependency[Database], customer: NamedDependency[Identity]
) -> OfferList:
    """Return the current offers for a session or an extension.

    If this customer can have the trial, the trial is in the list.
    """
    async with database.transaction() as tx:
        return OfferList(offers=await service.offers(tx, customer.user_id, purpose))


ROUTES: list[BaseRouteHandler] = [list_offers]
