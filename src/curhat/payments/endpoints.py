"""The web hook of the payment gateway. Each gateway's class reads its own headers and bodies."""

from typing import Final

import structlog
from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.kit.errors import ServiceUnavailable, invalid_field
from curhat.kit.http import AnyRequest
from curhat.payments.errors import WebhookRefused
from curhat.payments.gateway import GatewayUnknown, WebhookForged, WebhookGateway, WebhookMalformed

log = structlog.get_logger(__name__)

WEBHOOK_PATH: Final = "/api/gateway/webhook"


# The contract leaves this operation out, because the gateway decides what it sends.
@post(WEBHOOK_PATH, status_code=204, include_in_schema=False)
async def receive_gateway_webhook(request: AnyRequest, gateway: NamedDependency[WebhookGateway]) -> None:
    """Receive news about a charge or a refund. A status other than 204 makes the gateway send the web hook again."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        webhook = gateway.read_webhook(headers, await request.body())
    except WebhookForged:
        log.warning("gateway.webhook_refused")
        raise WebhookRefused from None
    except WebhookMalformed:
        log.warning("gateway.webhook_malformed")
        raise invalid_field("body", "cannot be read") from None
    if webhook is None:
        return
    try:
        await gateway.follow_webhook(webhook)
    except GatewayUnknown:
        raise ServiceUnavailable from None
    log.info("gateway.webhook_followed", about=webhook.about, key=str(webhook.key))


ROUTES: list[BaseRouteHandler] = [receive_gateway_webhook]
