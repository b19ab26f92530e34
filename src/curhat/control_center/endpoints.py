"""Every operation of the Control Center."""

from litestar.handlers import BaseRouteHandler

from curhat.control_center.operators import endpoints as operators

ROUTES: list[BaseRouteHandler] = [*operators.ROUTES]
