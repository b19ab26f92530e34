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
    "ask_what_if",
    "publish_texts",
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
            "ask_what_if",
            "publish_texts",
        }
    ),
    "reviewer": frozenset({"own_account", "view", "decide", "reveal", "manage_devices", "ask_what_if"}),
    "viewer": frozenset({"own_account", "view"}),
}
