"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from typing import Final

import msgspec

from curhat.kit.database import Executor


class ReadOperatorEmailsRow(msgspec.Struct, frozen=True):
    id: str
    email: str


READ_OPERATOR_EMAILS: Final = """
SELECT id::text AS id, email FROM operators WHERE id::text = ANY ($1::text[])
"""


async def read_operator_emails(db: Executor, /, *, ids: Sequence[str]) -> list[ReadOperatorEmailsRow]:
    """The e-mails of the ids that belong to operators. An id is a text here. The configuration stores the author of
    a change as text: either an operator's id or 'command line'."""
    return [ReadOperatorEmailsRow(*row) for row in await db.fetch(READ_OPERATOR_EMAILS, ids)]
