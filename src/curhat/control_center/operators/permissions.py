"""Which role may do what. Pure."""

from typing import Final, Literal

OperatorRole = Literal["admin", "reviewer", "viewer"]

# own_account: one's own password, second factor and devices; also before a second factor is enrolled.
Permission = Literal["own_account", "view", "decide", "reveal", "configure", "manage_mitras"]

PERMISSIONS: Final[dict[OperatorRole, frozenset[Permission]]] = {
    "admin": frozenset({"own_account", "view", "decide", "reveal", "configure", "manage_mitras"}),
    "reviewer": frozenset({"own_account", "view", "decide", "reveal"}),
    "viewer": frozenset({"own_account", "view"}),
}
