"""The mock gateway's controls. Mounted in development only."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, put
from litestar.params import Parameter

from curhat.payments.mock_gateway import Behaviour, GatewayRecords, MockGateway


class GatewayBehaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the mock gateway does from now on: for one payment, or for all."""

    behaviour: Behaviour
    payment_id: UUID | None = None


@put("/api/dev/gateway", operation_id="set_gateway_behaviour", tags=["development"], status_code=200)
async def set_gateway_behaviour(mock_gateway: MockGateway, data: GatewayBehaviour) -> GatewayBehaviour:
    """Tell the mock gateway how to behave."""
    await mock_gateway.set_behaviour(data.behaviour, data.payment_id)
    return data


@get("/api/dev/gateway/charges", operation_id="list_gateway_charges", tags=["development"])
async def list_gateway_charges(
    mock_gateway: MockGateway, payment_id: Annotated[UUID, Parameter(query="payment_id")]
) -> GatewayRecords:
    """What the mock gateway itself recorded for a payment, apart from our own tables."""
    return await mock_gateway.recorded(payment_id)


DEVELOPMENT_ROUTES = [set_gateway_behaviour, list_gateway_charges]
