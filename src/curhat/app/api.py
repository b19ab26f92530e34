"""The HTTP API: one Litestar application with the routes of every package and the dependencies of these routes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute
from litestar.types import Guard

from curhat.accounts import endpoints as accounts
from curhat.accounts.guards import (
    customers_and_mitras_only,
    provide_any_mitra,
    provide_customer,
    provide_mitra,
)
from curhat.accounts.service import Authenticator
from curhat.app.api_docs import read_api_docs
from curhat.app.wiring import Services
from curhat.content.help_lines import endpoints as help_lines
from curhat.content.texts import endpoints as texts
from curhat.control_center import endpoints as control_center
from curhat.control_center.operators.guards import operators_only, provide_operator
from curhat.journeys import block_endpoints as blocks
from curhat.journeys import endpoints as journeys
from curhat.journeys import extension_endpoints as extensions
from curhat.journeys import leaving_endpoints as leaving
from curhat.journeys import work_endpoints as work
from curhat.kit.errors import BusinessError
from curhat.kit.http import (
    AnyRequest,
    StrictRequest,
    handle_business_error,
    handle_http_exception,
    handle_unexpected,
)
from curhat.kit.identity import Identity
from curhat.kit.openapi import ContractConfig
from curhat.notebook import endpoints as notebook
from curhat.notifications import endpoints as notifications
from curhat.payments import endpoints as payments
from curhat.payments.mock import endpoints as mock_gateway
from curhat.presence import endpoints as presence
from curhat.pricing import endpoints as pricing
from curhat.privacy.erasure import endpoints as erasure
from curhat.privacy.export import endpoints as export
from curhat.realtime import endpoints as realtime
from curhat.safety.erasure.service import inherit_blocks
from curhat.safety.ratings import endpoints as ratings
from curhat.safety.reports import endpoints as reports
from curhat.sessions import endpoints as sessions

# The largest valid body is a chat message of 4,000 characters, each written as a JSON escape.
MAX_BODY_BYTES = 64 * 1024

ROUTES = [
    *accounts.ROUTES,
    *help_lines.ROUTES,
    *pricing.ROUTES,
    *texts.ROUTES,
    *presence.ROUTES,
    *payments.ROUTES,
    *journeys.ROUTES,
    *extensions.ROUTES,
    *leaving.ROUTES,
    *work.ROUTES,
    *blocks.ROUTES,
    *sessions.ROUTES,
    *ratings.ROUTES,
    *notebook.ROUTES,
    *export.ROUTES,
    *reports.ROUTES,
    *realtime.ROUTES,
    *control_center.ROUTES,
    *notifications.ROUTES,
    *erasure.ROUTES,
]
DEVELOPMENT_ROUTES = [*accounts.DEVELOPMENT_ROUTES, *mock_gateway.DEVELOPMENT_ROUTES, read_api_docs]


def build_api(services: Callable[[], Services], *, development: bool) -> Litestar:
    """Build the application. In production, the development paths do not exist (404).

    The application calls `services` only during an HTTP request, so contracts.py can build it without Services.
    """

    def given(read: Callable[[Services], object]) -> Provide:
        return Provide(lambda: read(services()), sync_to_thread=False)

    async def provide_seen_mitra(
        request: AnyRequest, authenticator: NamedDependency[Authenticator]
    ) -> Identity:
        identity = await provide_mitra(request, authenticator)
        # Any HTTP request shows that the mitra's app is in use (1.1).
        services().presence.seen(identity.user_id)
        return identity

    api = Litestar(
        route_handlers=[*ROUTES, *(DEVELOPMENT_ROUTES if development else [])],
        dependencies={
            "database": given(lambda s: s.database),
            "settings": given(lambda s: s.settings),
            "valkey_client": given(lambda s: s.valkey),
            "presence": given(lambda s: s.presence),
            "gateway": given(lambda s: s.gateway),
            "authenticator": given(lambda s: s.authenticator),
            "code_senders": given(lambda s: s.code_senders),
            "inherit_blocks": given(lambda _: inherit_blocks),
            "message_writer": given(lambda s: s.message_writer),
            "vapid_key": given(lambda s: s.vapid_key),
            "push_addresses": given(lambda s: s.push_addresses),
            "push_channels": given(lambda s: s.push_channels),
            "customer": Provide(provide_customer),
            "mitra": Provide(provide_seen_mitra),
            "any_mitra": Provide(provide_any_mitra),
            "operator": Provide(provide_operator),
        },
        exception_handlers={
            BusinessError: handle_business_error,
            HTTPException: handle_http_exception,
            Exception: handle_unexpected,
        },
        guards=[
            customers_and_mitras_only(lambda: services().authenticator),
            operators_only(lambda: services().database, lambda: services().settings),
        ],
        request_class=StrictRequest,
        openapi_config=ContractConfig(
            title="Curhat",
            version="1",
            description="Someone to talk to, within seconds. Errors are application/problem+json with a `code`.",
            use_handler_docstrings=True,
            operation_id_creator=lambda handler, _method, _path: handler.handler_name,
            # Declare no operation below this path. Below this path, the plugin answers unknown paths in HTML instead
            # of problem+json.
            path="/api/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        debug=False,
    )
    _lighten(api)
    return api


def _lighten(api: Litestar) -> None:
    """Resolve the dependencies of each operation one after another, and pass the operation itself to its guards.

    By default, Litestar resolves independent dependencies in a task group, and copies the operation for each guard.
    Decision record 0063 states how much time Litestar's default takes per HTTP request.
    """
    for route in api.routes:
        if isinstance(route, HTTPRoute):
            for handler, model in route.route_handler_map.values():
                model.dependency_batches = [
                    {dependency} for batch in model.dependency_batches for dependency in batch
                ]
                # Litestar itself adds some operations (OPTIONS, the contract). The operations of Litestar have no
                # attribute that the code below could replace.
                if hasattr(handler, "__dict__"):
                    authorize = partial(_authorize, handler.resolve_guards(), handler)
                    handler.authorize_connection = authorize  # type: ignore[method-assign]


async def _authorize(
    guards: Sequence[Guard], handler: BaseRouteHandler, connection: ASGIConnection[Any, Any, Any, Any]
) -> None:
    for guard in guards:
        await guard(connection, handler)  # type: ignore[misc]
