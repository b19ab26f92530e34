"""Asks, reads and cancels what-ifs. Every function takes an open transaction and never commits it."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.lists.query_values import checked_time
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.schemas import OperatorReference, from_row
from curhat.control_center.what_if import queries
from curhat.control_center.what_if.errors import TooManyWhatIfs, WhatIfFinished
from curhat.control_center.what_if.queries import WhatIfRow
from curhat.control_center.what_if.schemas import (
    WhatIf,
    WhatIfAnswer,
    WhatIfBegun,
    WhatIfList,
    WhatIfQuestion,
)
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.queries import read_clock

DEFAULT_PERIOD: Final = timedelta(days=7)
MAX_PERIOD: Final = timedelta(days=28)
MAX_UNFINISHED: Final = 5
MAX_SHOWN: Final = 50


async def ask(tx: Transaction, operator: SignedInOperator, question: WhatIfQuestion) -> WhatIfBegun:
    """Let a worker replay the period. Raises ValidationFailed, TooManyWhatIfs."""
    complete = _completed(question, await read_clock(tx))
    # Two operators who ask at the same time must not both find the last free place.
    await queries.lock_asking(tx)
    if await queries.count_unfinished(tx) >= MAX_UNFINISHED:
        raise TooManyWhatIfs
    text = msgspec.json.encode(complete).decode()
    what_if_id = await queries.insert_what_if(tx, asked_by=operator.id, question=text)
    await write_audit_entry(tx, operator.id, "what_if_asked", "what_if", what_if_id, new=_in_words(complete))
    return WhatIfBegun(what_if_id)


def _completed(question: WhatIfQuestion, now: datetime) -> WhatIfQuestion:
    """Return the question with its period. Raises ValidationFailed."""
    changes = (question.blast_timeout_seconds, question.targeted_timeout_seconds, question.extra_mitras)
    if changes == (None, None, None):
        raise invalid_field("body", "must name what to change")
    until = now if question.until is None else min(checked_time("until", question.until), now)
    since = until - DEFAULT_PERIOD if question.since is None else checked_time("since", question.since)
    if not timedelta() < until - since <= MAX_PERIOD:
        raise invalid_field("since", f"must be before `until`, and at most {MAX_PERIOD.days} days before it")
    return msgspec.structs.replace(question, since=since, until=until)


def _in_words(question: WhatIfQuestion) -> str:
    """Return the changes as `name=value`, for the audit."""
    parts = [
        f"{name}={value}"
        for name, value in (
            ("blast_timeout_seconds", question.blast_timeout_seconds),
            ("targeted_timeout_seconds", question.targeted_timeout_seconds),
        )
        if value is not None
    ]
    extra = question.extra_mitras
    if extra is not None:
        parts.append(f"extra_mitras={extra.count} {extra.from_hour:02}-{extra.to_hour:02}")
    return "&".join(parts)


async def read_what_if(tx: Transaction, what_if_id: UUID) -> WhatIf:
    """Read one what-if. Raises NotFound."""
    rows = await queries.list_what_ifs(tx, only_id=what_if_id, max_rows=1)
    if not rows:
        raise NotFound
    return _what_if(rows[0])


async def list_what_ifs(tx: Transaction) -> WhatIfList:
    """Read the newest what-ifs, at most MAX_SHOWN."""
    rows = await queries.list_what_ifs(tx, only_id=None, max_rows=MAX_SHOWN)
    return WhatIfList([_what_if(row) for row in rows])


def _what_if(row: WhatIfRow) -> WhatIf:
    return from_row(
        WhatIf,
        row,
        question=msgspec.json.decode(row.question, type=WhatIfQuestion),
        asked_by=OperatorReference(row.asked_by, row.email),
        answer=None if row.answer is None else msgspec.json.decode(row.answer, type=WhatIfAnswer),
    )


async def cancel(tx: Transaction, operator: SignedInOperator, what_if_id: UUID) -> None:
    """Cancel a what-if that waits or runs. Its process ends within a second. Raises NotFound, WhatIfFinished."""
    if not await queries.cancel_what_if(tx, id=what_if_id):
        await read_what_if(tx, what_if_id)
        raise WhatIfFinished
    await write_audit_entry(tx, operator.id, "what_if_cancelled", "what_if", what_if_id)
