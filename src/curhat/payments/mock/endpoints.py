"""The endpoints that control the mock gateway. These endpoints exist in development only."""

from uuid import UUID

from litestar import get, put
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody

from curhat.kit.errors import ValidationFailed, invalid_field
from curhat.kit.openapi import answers
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.mock.schemas import GatewayBehaviour, GatewayRecords


@put(
    "/api/dev/gateway",
    operation_id="set_gateway_behaviour",
    tags=["development"],
    responses=answers({200: GatewayBehaviour}, ValidationFailed),
)
async def set_gateway_behaviour(
    gateway: NamedDependency[MockGateway], data: JSONBody[GatewayBehaviour]
) -> GatewayBehaviour:
    """Tell the mock gateway how to behave."""
    behaviour = data.behaviour
    match behaviour:
        case "forget" | "invent":
            if data.payment_id is None:
                raise invalid_field("payment_id", f"must name the payment whose charge to {behaviour}")
            await gateway.falsify_books(behaviour, data.payment_id)
        case _:
            await gateway.set_behaviour(behaviour, data.payment_id)
    return data


@get(
    "/api/dev/gateway/charges",
    operation_id="list_gateway_charges",
    tags=["development"],
    responses=answers({200: GatewayRecords}, ValidationFailed),
)
async def list_gateway_charges(
    gateway: NamedDependency[MockGateway], payment_id: FromQuery[UUID]
) -> GatewayRecords:
    """Return the charges and refunds that the mock gateway itself recorded for a payment."""
    return await gateway.recorded(payment_id)


DEVELOPMENT_ROUTES: list[BaseRouteHandler] = [set_gateway_behaviour, list_gateway_charges]
