"""Hooks for a Presence under test."""

from curhat.presence.hooks import PresenceHooks


async def ignore(*_arguments: object) -> None:
    """Do nothing."""


async def ignore_mitras(*_arguments: object) -> bool:
    """Do nothing, and say that all offers are made."""
    return True


def ignore_presence(*_arguments: object) -> None:
    """Do nothing."""


IGNORED_HOOKS = PresenceHooks(
    intent_changed=ignore, newly_available=ignore_mitras, presence_changed=ignore_presence
)
