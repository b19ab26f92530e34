"""How a one-time code reaches a phone: the port, and the inbox that replaces real phones in development.

To add a sender for real phones, write the sender in this file, and add its name to REAL_CODE_SENDERS in
kit/settings.py. Production does not start without such a sender.
"""

from typing import Protocol

import msgspec

from curhat.accounts import queries
from curhat.accounts.codes import VALID_SECONDS
from curhat.accounts.schemas import InboxMessage
from curhat.kit.database import Database
from curhat.kit.settings import Settings


class CodeSender(Protocol):
    """Sends texts to phones. The endpoints call `send` between transactions, after they have committed the code."""

    async def send(self, phone_number: str, text: str, code: str) -> None:
        """Send `text`, which contains `code`. If this raises an error, `text` was certainly not sent."""


class DevelopmentInbox:
    """Keeps the newest 20 texts to each phone in a database table that a developer can read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, phone_number: str, text: str, code: str) -> None:
        """Put the text into the inbox, and keep only the newest 20 texts to this phone."""
        async with self._database.transaction() as tx:
            await queries.insert_inbox_message(tx, phone_number=phone_number, text=text, code=code)
            await queries.prune_inbox(tx, phone_number=phone_number)

    async def messages(self, phone_number: str) -> list[InboxMessage]:
        """Return the texts to this phone, newest first."""
        stored = await queries.list_inbox(self._database, phone_number=phone_number)
        return msgspec.convert(stored, list[InboxMessage], from_attributes=True)


def code_sender(settings: Settings, database: Database) -> CodeSender:
    """Return the sender that the settings name. Raises RuntimeError if there is no sender of that name."""
    if settings.is_development and settings.code_sender == "inbox":
        return DevelopmentInbox(database)
    raise RuntimeError(f"there is no code sender named {settings.code_sender!r}")


def code_text(code: str) -> str:
    """Return the text message that contains this code."""
    return (
        f"Kode masuk Curhat kamu: {code}. Berlaku {VALID_SECONDS // 60} menit. "
        "Jangan beri tahu siapa pun, termasuk yang mengaku dari Curhat."
    )
