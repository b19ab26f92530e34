"""The permissions of each role. Pure."""

from typing import Final, Literal

OperatorRole = Literal["admin", "reviewer", "viewer"]

# own_account covers the operator's own password, second factor and devices. An operator needs no enrolled second
# factor to use own_account.
Permission = Literal[
    "own_account",
    "view",
    "decide",
    "reveal",
    "configure",
    "manage_mitras",
    "manage_devices",
    "manage_operators",
    "publish",
    "ask_what_if",
]

PERMISSIONS: Final[dict[OperatorRole, frozenset[Permission]]] = {
    "admin": frozenset(
        {
            "own_account",
            "view",
            "decide",
            "reveal",
            "configure",
            "manage_mitras",
            "manage_devices",
            "manage_operators",
            "publish",
            "ask_what_if",
        }
    ),
    "reviewer": frozenset({"own_account", "view", "decide", "reveal", "manage_devices", "ask_what_if"}),
    "viewer": frozenset({"own_account", "view"}),
}
