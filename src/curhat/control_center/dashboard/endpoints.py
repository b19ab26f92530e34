"""The endpoints of the dashboard and its charts."""

from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.control_center.dashboard import service
from curhat.control_center.dashboard.schemas import Charts, Dashboard
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.kit.database import Database
from curhat.kit.openapi import answers
from curhat.presence.service import Presence

DASHBOARD: Final = ["dashboard"]


@get(
    "/api/control-center/dashboard",
    operation_id="get_dashboard",
    tags=DASHBOARD,
    opt=needs("view"),
    responses=answers({200: Dashboard}, *OPERATOR_SIGNED_IN),
)
async def get_dashboard(
    database: NamedDependency[Database], presence: NamedDependency[Presence]
) -> Dashboard:
    """The current figures. A client can ask every few seconds."""
    return await service.read_dashboard(database, presence)


@get(
    "/api/control-center/dashboard/charts",
    operation_id="get_dashboard_charts",
    tags=DASHBOARD,
    opt=needs("view"),
    responses=answers({200: Charts}, *OPERATOR_SIGNED_IN),
)
async def get_dashboard_charts(database: NamedDependency[Database]) -> Charts:
    """Counts per hour for 24 hours, and per day for 30 days, in WIB. A client asks at most once per minute."""
    async with database.transaction(snapshot=True) as tx:
        return await service.read_charts(tx)


ROUTES: list[BaseRouteHandler] = [get_dashboard, get_dashboard_charts]
