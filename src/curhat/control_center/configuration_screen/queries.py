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
    """Read the e-mail addresses of the operators whose ids are among @ids. The ids are texts, because the configuration
    stores the author of a change as a text. The author can also be 'command line' instead of an operator's id."""
    return [ReadOperatorEmailsRow(*row) for row in await db.fetch(READ_OPERATOR_EMAILS, ids)]
