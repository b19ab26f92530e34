"""Hooks for a Presence under test."""

from curhat.presence.hooks import PresenceHooks


async def ignore(*_arguments: object) -> None:
    """Do nothing."""


def ignore_presence(*_arguments: object) -> None:
    """Do nothing."""


IGNORED_HOOKS = PresenceHooks(intent_changed=ignore, may_be_asked=ignore, presence_changed=ignore_presence)
