"""Makes ended chats with messages, reports about them, and operators' decisions."""

from uuid import UUID, uuid4

from curhat.kit.database import Database
from curhat.kit.identity import Identity
from curhat.safety.reports import service as reports
from curhat.safety.reports.schemas import NewReport
from curhat.sessions import service as sessions
from curhat.sessions.service import OutgoingMessage, SentMessage
from tests.support.chats import Chat

# An operator decides, as the Control Center does. $2 is the operator.
DECIDE = """
UPDATE reports SET status = 'decided', decision = 'no_action', decision_note = 'read', decided_by = $2,
    decided_at = curhat_now(), closed_at = curhat_now()
WHERE id = $1
"""


async def write(database: Database, chat: Chat, *texts: str) -> list[UUID]:
    """Send texts in a running chat. The customer and the mitra take turns. Returns the ids of the messages."""
    outgoing = [
        OutgoingMessage((chat.customer, chat.mitra)[number % 2], chat.id, str(uuid4()), text)
        for number, text in enumerate(texts)
    ]
    async with database.transaction() as tx:
        sent = await sessions.send_messages(tx, outgoing)
    return [outcome.message.id for outcome in sent if isinstance(outcome, SentMessage)]


async def end(database: Database, chat: Chat) -> None:
    """End the chat by its customer."""
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)


async def report(database: Database, who: Identity, session_id: UUID, *marked: UUID) -> UUID:
    """Report a chat. Returns the report's id."""
    async with database.transaction() as tx:
        made = await reports.report(tx, who, session_id, NewReport("threat", message_ids=list(marked)))
    return made.id


async def new_operator(database: Database) -> UUID:
    """Make an operator who can decide, but not sign in."""
    operator_id: UUID = await database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ($1, 'admin', '') RETURNING id",
        f"{uuid4()}@example.id",
    )
    return operator_id


async def texts_of(database: Database, session_id: UUID) -> list[str]:
    """Return the texts that the database has, oldest first."""
    rows = await database.fetch("SELECT text FROM messages WHERE session_id = $1 ORDER BY id", session_id)
    return [row["text"] for row in rows]
