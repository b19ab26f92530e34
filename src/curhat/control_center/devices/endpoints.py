"""The endpoints of customers' and mitras' devices. The endpoints open the transactions and write the audit."""

from typing import Final
from uuid import UUID

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from curhat.accounts import service as accounts
from curhat.accounts.schemas import Devices
from curhat.accounts.service import Authenticator
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.kit.identity import Role
from curhat.kit.openapi import answers

DEVICES: Final = ["devices"]


@get(
    "/api/control-center/customers/{customer_id:uuid}/devices",
    operation_id="list_devices_of_customer",
    tags=DEVICES,
    opt=needs("manage_devices"),
    responses=answers({200: Devices}, *OPERATOR_SIGNED_IN, NotFound),
)
async def list_devices_of_customer(
    database: NamedDependency[Database], customer_id: FromPath[UUID]
) -> Devices:
    """The devices on which a customer is signed in, the most recently seen first."""
    return await _devices(database, "customer", customer_id)


@delete(
    "/api/control-center/customers/{customer_id:uuid}/devices/{device_id:uuid}",
    operation_id="revoke_device_of_customer",
    tags=DEVICES,
    status_code=204,
    opt=needs("manage_devices"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound),
)
async def revoke_device_of_customer(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    operator: NamedDependency[SignedInOperator],
    customer_id: FromPath[UUID],
    device_id: FromPath[UUID],
) -> None:
    """Sign out one device of a customer. The server revokes the device's token and closes its sockets."""
    await _sign_out_one(database, authenticator, operator, "customer", customer_id, device_id)


@post(
    "/api/control-center/customers/{customer_id:uuid}/devices/sign-out-others",
    operation_id="revoke_devices_of_customer",
    tags=DEVICES,
    status_code=204,
    opt=needs("manage_devices"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound),
)
async def revoke_devices_of_customer(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    operator: NamedDependency[SignedInOperator],
    customer_id: FromPath[UUID],
) -> None:
    """Sign out every device of a customer. The operator who sends this request stays signed in."""
    await _sign_out_all(database, authenticator, operator, "customer", customer_id)


@get(
    "/api/control-center/mitras/{mitra_id:uuid}/devices",
    operation_id="list_devices_of_mitra",
    tags=DEVICES,
    opt=needs("manage_devices"),
    responses=answers({200: Devices}, *OPERATOR_SIGNED_IN, NotFound),
)
async def list_devices_of_mitra(database: NamedDependency[Database], mitra_id: FromPath[UUID]) -> Devices:
    """The devices on which a mitra is signed in, the most recently seen first."""
    return await _devices(database, "mitra", mitra_id)


@delete(
    "/api/control-center/mitras/{mitra_id:uuid}/devices/{device_id:uuid}",
    operation_id="revoke_device_of_mitra",
    tags=DEVICES,
    status_code=204,
    opt=needs("manage_devices"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound),
)
async def revoke_device_of_mitra(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    operator: NamedDependency[SignedInOperator],
    mitra_id: FromPath[UUID],
    device_id: FromPath[UUID],
) -> None:
    """Sign out one device of a mitra. The server revokes the device's token and closes its sockets."""
    await _sign_out_one(database, authenticator, operator, "mitra", mitra_id, device_id)


@post(
    "/api/control-center/mitras/{mitra_id:uuid}/devices/sign-out-others",
    operation_id="revoke_devices_of_mitra",
    tags=DEVICES,
    status_code=204,
    opt=needs("manage_devices"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound),
)
async def revoke_devices_of_mitra(
    database: NamedDependency[Database],
    authenticator: NamedDependency[Authenticator],
    operator: NamedDependency[SignedInOperator],
    mitra_id: FromPath[UUID],
) -> None:
    """Sign out every device of a mitra. The operator who sends this request stays signed in."""
    await _sign_out_all(database, authenticator, operator, "mitra", mitra_id)


async def _devices(database: Database, role: Role, person_id: UUID) -> Devices:
    async with database.transaction() as tx:
        await accounts.check_exists(tx, role, person_id)
        return Devices(items=await accounts.list_devices(tx, role, person_id))


async def _sign_out_one(
    database: Database,
    authenticator: Authenticator,
    operator: SignedInOperator,
    role: Role,
    person_id: UUID,
    device_id: UUID,
) -> None:
    async with database.transaction() as tx:
        digest = await accounts.sign_out_device(tx, role, person_id, device_id)
        await write_audit_entry(
            tx, operator.id, "person_device_signed_out", role, person_id, old=str(device_id)
        )
    # Without this call, this process would trust the token until the signal of the sign-out arrives.
    authenticator.forget_token(digest)


async def _sign_out_all(
    database: Database, authenticator: Authenticator, operator: SignedInOperator, role: Role, person_id: UUID
) -> None:
    async with database.transaction() as tx:
        await accounts.check_exists(tx, role, person_id)
        digests = await accounts.sign_out_other_devices(tx, role, person_id)
        await write_audit_entry(
            tx, operator.id, "person_devices_signed_out", role, person_id, old=str(len(digests))
        )
    for digest in digests:
        authenticator.forget_token(digest)


ROUTES: list[BaseRouteHandler] = [
    list_devices_of_customer,
    revoke_device_of_customer,
    revoke_devices_of_customer,
    list_devices_of_mitra,
    revoke_device_of_mitra,
    revoke_devices_of_mitra,
]
