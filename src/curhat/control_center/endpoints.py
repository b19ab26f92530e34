"""Every operation of the Control Center."""

from litestar.handlers import BaseRouteHandler

from curhat.control_center.configuration_screen import endpoints as configuration_screen
from curhat.control_center.operators import endpoints as operators
from curhat.control_center.review import endpoints as review

ROUTES: list[BaseRouteHandler] = [*operators.ROUTES, *configuration_screen.ROUTES, *review.ROUTES]
