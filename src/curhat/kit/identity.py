"""Who is asking: the shapes that every room above `accounts` authorises with."""

from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

Role = Literal["customer", "mitra"]
# Whoever signs in at all; operators have no journeys, no streams and no sockets.
AnyRole = Literal["customer", "mitra", "operator"]


class Identity(msgspec.Struct, frozen=True):
    """A signed-in person in one role. `user_id` is the id in `customers` or `mitras`."""

    role: Role
    user_id: UUID


class OperatorIdentity(msgspec.Struct, frozen=True):
    """A signed-in operator. What they may do is the Control Center's to say."""

    user_id: UUID
    role: Literal["operator"] = "operator"


Caller: TypeAlias = Identity | OperatorIdentity
