"""Who is asking: the one shape that every room above `accounts` authorises with."""

from typing import Literal
from uuid import UUID

import msgspec

Role = Literal["customer", "mitra"]


class Identity(msgspec.Struct, frozen=True):
    """A signed-in person in one role. `user_id` is the id in `customers` or `mitras`."""

    role: Role
    user_id: UUID
