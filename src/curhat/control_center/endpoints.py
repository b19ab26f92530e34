"""Every operation of the Control Center."""

from litestar.handlers import BaseRouteHandler

from curhat.control_center.audit import endpoints as audit
from curhat.control_center.configuration_screen import endpoints as configuration_screen
from curhat.control_center.dashboard import endpoints as dashboard
from curhat.control_center.devices import endpoints as devices
from curhat.control_center.gateway_notice import endpoints as gateway_notice
from curhat.control_center.help_lines import endpoints as help_lines
from curhat.control_center.operators import endpoints as operators
from curhat.control_center.records import endpoints as records
from curhat.control_center.reports import endpoints as reports
from curhat.control_center.review import endpoints as review
from curhat.control_center.search import endpoints as search
from curhat.control_center.team import endpoints as team
from curhat.control_center.texts import endpoints as texts
from curhat.control_center.transcripts import endpoints as transcripts
from curhat.control_center.what_if import endpoints as what_if

ROUTES: list[BaseRouteHandler] = [
    *operators.ROUTES,
    *team.ROUTES,
    *gateway_notice.ROUTES,
    *dashboard.ROUTES,
    *configuration_screen.ROUTES,
    *help_lines.ROUTES,
    *review.ROUTES,
    *reports.ROUTES,
    *search.ROUTES,
    *records.ROUTES,
    *transcripts.ROUTES,
    *devices.ROUTES,
    *audit.ROUTES,
    *what_if.ROUTES,
    *texts.ROUTES,
]
