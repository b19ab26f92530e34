"""The endpoint of the gateway notice. The sign-in screen also shows the notice, so the endpoint needs no sign-in."""

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.control_center.gateway_notice.schemas import GatewayNotice
from curhat.control_center.operators.guards import OPEN
from curhat.kit.openapi import answers
from curhat.kit.settings import Settings


@get(
    "/api/control-center/gateway",
    operation_id="get_gateway_notice",
    tags=["operators"],
    opt=OPEN,
    responses=answers({200: GatewayNotice}),
)
async def get_gateway_notice(settings: NamedDependency[Settings]) -> GatewayNotice:
    """Return whether this server is in production and has a mock as its payment gateway."""
    return GatewayNotice(name=settings.gateway, is_mocked=settings.is_mocked_in_production)


ROUTES: list[BaseRouteHandler] = [get_gateway_notice]
