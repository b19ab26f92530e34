"""The identities of signed-in people."""

from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

Role = Literal["customer", "mitra"]
# All roles that can sign in. `Role` leaves out operators, because they have no journeys, no streams and no sockets.
AnyRole = Literal["customer", "mitra", "operator"]


class Identity(msgspec.Struct, frozen=True):
    """A signed-in person in one role. `user_id` is the id in `customers` or `mitras`."""

    role: Role
    user_id: UUID


class OperatorIdentity(msgspec.Struct, frozen=True):
    """A signed-in operator. The Control Center checks the operator's permissions."""

    user_id: UUID
    role: Literal["operator"] = "operator"


Caller: TypeAlias = Identity | OperatorIdentity
