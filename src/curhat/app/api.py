"""The HTTP API: the routes of every package in one Litestar application, and their dependencies."""

from collections.abc import Callable, Coroutine
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute
from valkey.asyncio import Valkey

from curhat.accounts import endpoints as accounts
from curhat.accounts.guards import provide_customer, provide_mitra, strangers_first
from curhat.accounts.service import Authenticator
from curhat.app.api_docs import read_api_docs
from curhat.app.wiring import Services
from curhat.control_center import endpoints as control_center
from curhat.control_center.operators.guards import operators_only, provide_operator
from curhat.journeys import endpoints as journeys
from curhat.journeys import extension_endpoints as extensions
from curhat.kit.database import Database
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
from curhat.kit.settings import Settings
from curhat.notifications import endpoints as notifications
from curhat.notifications.addresses import Addresses
from curhat.notifications.web_push import VapidKey
from curhat.payments.gateway import Gateway
from curhat.payments.mock import endpoints as mock_gateway_controls
from curhat.payments.mock.gateway import MockGateway
from curhat.presence import endpoints as presence
from curhat.presence.service import Presence
from curhat.pricing import endpoints as pricing
from curhat.realtime import endpoints as realtime
from curhat.sessions import endpoints as sessions
from curhat.sessions.writer import MessageWriter

# The largest body is a message of 4,000 characters that are all written as JSON escapes.
MAX_BODY_BYTES = 64 * 1024

ROUTES = [
    *accounts.ROUTES,
    *pricing.ROUTES,
    *presence.ROUTES,
    *journeys.ROUTES,
    *extensions.ROUTES,
    *sessions.ROUTES,
    *realtime.ROUTES,
    *control_center.ROUTES,
    *notifications.ROUTES,
]
DEVELOPMENT_ROUTES = [
    *accounts.DEVELOPMENT_ROUTES,
    *mock_gateway_controls.DEVELOPMENT_ROUTES,
    read_api_docs,
]


def build_api(services: Callable[[], Services], *, development: bool) -> Litestar:
    """Build the application. It calls `services` per request, so that the contract can be generated without Services.

    In production, the development paths do not exist (404).
    """

    def database() -> Database:
        return services().database

    def settings() -> Settings:
        return services().settings

    def valkey_client() -> Valkey:
        return services().valkey

    def presence() -> Presence:
        return services().presence

    def gateway() -> Gateway:
        return services().gateway

    def mock_gateway() -> MockGateway:
        return services().gateway

    def authenticator() -> Authenticator:
        return services().authenticator

    def message_writer() -> MessageWriter:
        return services().message_writer

    api = Litestar(
        route_handlers=[*ROUTES, *(DEVELOPMENT_ROUTES if development else [])],
        dependencies={
            "database": _given(database),
            "settings": _given(settings),
            "valkey_client": _given(valkey_client),
            "presence": _given(presence),
            "gateway": _given(gateway),
            "mock_gateway": _given(mock_gateway),
            "authenticator": _given(authenticator),
            "message_writer": _given(message_writer),
            "customer": Provide(provide_customer),
            "operator": Provide(provide_operator),
            **_push_and_presence(services),
        },
        exception_handlers={
            BusinessError: handle_business_error,
            HTTPException: handle_http_exception,
            Exception: handle_unexpected,
        },
        guards=[strangers_first(authenticator), operators_only(database, settings)],
        request_class=StrictRequest,
        openapi_config=ContractConfig(
            title="Curhat",
            version="1",
            description="Someone to talk to, within seconds. Errors are application/problem+json with a `code`.",
            use_handler_docstrings=True,
            # This needs its own path. Below the given path, the plugin answers unknown paths in HTML instead of
            # problem+json.
            path="/api/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        debug=False,
    )
    _lighten(api)
    return api


def _push_and_presence(services: Callable[[], Services]) -> dict[str, Provide]:
    """Return the dependencies of push, and the provider of the mitra who sends the request."""

    def vapid_key() -> VapidKey:
        return services().vapid_key

    def push_addresses() -> Addresses:
        return services().push_addresses

    async def mitra(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
        identity = await provide_mitra(request, authenticator)
        # Any request shows that the mitra's app is in use (1.1).
        services().presence.seen(identity.user_id)
        return identity

    return {
        "vapid_key": _given(vapid_key),
        "push_addresses": _given(push_addresses),
        "mitra": Provide(mitra),
    }


def _given(provider: Callable[..., object]) -> Provide:
    return Provide(provider, sync_to_thread=False)


def _lighten(api: Litestar) -> None:
    """Resolve each operation's dependencies one after the other, and give its guards the operation itself.

    By default, Litestar resolves independent dependencies in a task group, and copies the operation for each guard.
    Record 0063 has the cost per request.
    """
    for route in api.routes:
        if isinstance(route, HTTPRoute):
            for handler, model in route.route_handler_map.values():
                model.dependency_batches = [{one} for batch in model.dependency_batches for one in batch]
                # The operations that Litestar adds itself (OPTIONS, the contract) have no attribute to replace.
                if hasattr(handler, "__dict__"):
                    handler.authorize_connection = _authorization_of(handler)  # type: ignore[assignment, method-assign]


def _authorization_of(
    handler: BaseRouteHandler,
) -> Callable[[ASGIConnection[Any, Any, Any, Any]], Coroutine[Any, Any, None]]:
    guards = handler.resolve_guards()

    async def authorize(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        for guard in guards:
            await guard(connection, handler)  # type: ignore[misc]

    return authorize
