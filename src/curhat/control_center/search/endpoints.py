"""The endpoint of the search."""

from typing import Annotated, Final

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.control_center.search import service
from curhat.control_center.search.schemas import SearchResults
from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.openapi import answers

SEARCH: Final = ["search"]


@get(
    "/api/control-center/search",
    operation_id="search_everything",
    tags=SEARCH,
    opt=needs("view"),
    responses=answers({200: SearchResults}, *OPERATOR_SIGNED_IN, ValidationFailed),
)
async def search_everything(
    database: NamedDependency[Database], q: Annotated[str, QueryParameter(name="q")]
) -> SearchResults:
    """Find people, payments, sessions and cases by phone number, name, reference or id, at most 20."""
    async with database.transaction(snapshot=True) as tx:
        return await service.search(tx, q)


ROUTES: list[BaseRouteHandler] = [search_everything]
