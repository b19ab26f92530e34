"""How a one-time code reaches a phone: the port, and the inbox that stands for it in development.

A sender that reaches real phones is added here, and to REAL_CODE_SENDERS in kit/settings.py: production does not
start without one.
"""

from typing import Protocol

from curhat.accounts.codes import VALID_SECONDS
from curhat.accounts.schemas import InboxMessage
from curhat.kit.database import Database, load_queries
from curhat.kit.settings import Settings

SQL = load_queries(__file__)


class CodeSender(Protocol):
    """Sends messages to phones. Called between transactions, after the code was committed."""

    async def send(self, phone_number: str, text: str, code: str) -> None:
        """Send `text`, which contains `code`. Raises when it surely did not go out."""


class DevelopmentInbox:
    """Keeps the last messages to each phone where a developer can read them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, phone_number: str, text: str, code: str) -> None:
        """Put the message into the inbox, and throw away what is older than the last 20."""
        async with self._database.transaction() as tx:
            await tx.execute(SQL.add_to_inbox, phone_number, text, code)
            await tx.execute(SQL.prune_inbox, phone_number)

    async def messages(self, phone_number: str) -> list[InboxMessage]:
        """What was sent to this phone, newest first."""
        rows = await self._database.fetch(SQL.inbox, phone_number)
        return [InboxMessage(text=row["text"], code=row["code"], sent_at=row["sent_at"]) for row in rows]


def code_sender(settings: Settings, database: Database) -> CodeSender:
    """The sender that the settings name."""
    if settings.is_development and settings.code_sender == "inbox":
        return DevelopmentInbox(database)
    raise RuntimeError(f"there is no code sender named {settings.code_sender!r}")


def code_text(code: str) -> str:
    """The message to the phone."""
    return (
        f"Kode masuk Curhat kamu: {code}. Berlaku {VALID_SECONDS // 60} menit. "
        "Jangan beri tahu siapa pun, termasuk yang mengaku dari Curhat."
    )
