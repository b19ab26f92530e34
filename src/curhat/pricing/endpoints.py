"""The HTTP endpoint that lists the offers."""

from typing import Final

from litestar import get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from curhat.configuration import service as configuration
from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.openapi import SIGNED_IN, answers
from curhat.kit.settings import Settings
from curhat.pricing import queries, service
from curhat.pricing.schemas import OfferList, Purpose, ServiceFacts

# For how long a browser or a proxy can keep the facts. A new price is shown before signing in at most this much later.
SERVICE_FACTS_SECONDS: Final = 60


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
        offers = await service.offers(tx, customer.user_id, purpose)
        if purpose == "session":
            return OfferList(offers)
        return OfferList(
            offers,
            await configuration.extension_default_action_on_timeout(tx),
            await configuration.extension_timeout_seconds(tx),
        )


@get(
    "/api/content/service",
    operation_id="get_service_facts",
    tags=["content"],
    cache_control=CacheControlHeader(max_age=SERVICE_FACTS_SECONDS, public=True),
)
async def get_service_facts(
    database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> ServiceFacts:
    """Return what a person wants to know before signing in: the prices, and how to reach the team."""
    prices = await queries.read_public_prices(database)
    return ServiceFacts(prices.lowest_price_rp, prices.trial_minutes, settings.help_contact)


ROUTES: list[BaseRouteHandler] = [list_offers, get_service_facts]
