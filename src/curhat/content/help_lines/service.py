"""Reads, proposes and publishes versions of the help lines. No function here commits its transaction."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final
from uuid import UUID

import msgspec

from curhat.content.help_lines import queries
from curhat.content.help_lines.errors import AlreadyPublished, NewerProposal, OwnProposal
from curhat.content.help_lines.schemas import (
    MAX_ITEMS,
    MIN_LINES,
    MIN_PROVIDERS,
    BothLanguages,
    HelpChannel,
    HelpLine,
    HelpLines,
)
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Executor, Transaction
from curhat.kit.errors import NotFound, ValidationFailed, invalid_field
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock
from curhat.kit.visible_text import checked_text

# A line that nobody has verified for this long is flagged.
MAX_VERIFIED_DAYS: Final = 30

_CHANNELS: Final = {
    "call": (re.compile(r"\+?[0-9](?:[0-9 -]{1,18}[0-9])?(?:,{1,3}[0-9]{1,6})?"), "must be a phone number"),
    "whatsapp": (re.compile(r"\+[1-9][0-9]{6,14}"), "must be a phone number such as +6281234567890"),
    "web": (
        re.compile(r"https://[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[\w./~%-]*)?"),
        "must be an address such as https://example.id",
    ),
}


@cache
def shipped_items() -> list[HelpLine]:
    """Return the list that comes with this release."""
    text = files("curhat.content.help_lines").joinpath("shipped.json").read_bytes()
    return msgspec.json.decode(text, type=list[HelpLine])


async def find_current(db: Executor) -> HelpLines | None:
    """Return the current version, or None if nothing was published."""
    row = await queries.find_current(db)
    return None if row is None else HelpLines(row.version, row.published_at, items_of(row.items))


def items_of(stored: str) -> list[HelpLine]:
    """Return the items of a stored version."""
    return msgspec.json.decode(stored, type=list[HelpLine])


def is_unverified(line: HelpLine, now: datetime) -> bool:
    """Return whether nobody has verified this line for MAX_VERIFIED_DAYS. A step needs no verification."""
    return line.kind == "line" and (
        line.verified_at is None or line.verified_at < now - timedelta(days=MAX_VERIFIED_DAYS)
    )


async def propose(tx: Transaction, operator_id: UUID, items: Sequence[HelpLine]) -> int:
    """Propose a version, and write an audit entry. Returns the number of the version. Raises ValidationFailed."""
    checked = checked_items(items, await read_clock(tx))
    await queries.lock_versions(tx)
    version = await queries.insert_proposal(tx, items=_stored(checked), proposed_by=operator_id)
    await write_audit_entry(tx, operator_id, "help_lines_proposed", "help_lines", str(version))
    return version


async def publish(tx: Transaction, operator_id: UUID, version: int) -> None:
    """Publish a proposed version, and write an audit entry. The admin who published it can repeat the call.

    Raises NotFound, OwnProposal, AlreadyPublished, NewerProposal.
    """
    await queries.lock_versions(tx)
    await pause_point("help_lines.locked")
    row = await queries.find_version(tx, version=version)
    if row is None:
        raise NotFound
    if row.published_at is not None:
        if row.published_by == operator_id:
            return
        raise AlreadyPublished
    if row.proposed_by == operator_id:
        raise OwnProposal
    newest = await queries.find_newest(tx)
    if newest is not None and newest.version != version:
        raise NewerProposal(newest=newest.version)
    await queries.publish(tx, version=version, published_by=operator_id)
    await write_audit_entry(tx, operator_id, "help_lines_published", "help_lines", str(version))


async def publish_shipped(tx: Transaction) -> None:
    """Publish the list of this release, unless it is the current one or operators have published or proposed a list."""
    await queries.lock_versions(tx)
    newest = await queries.find_newest(tx)
    if newest is not None and (newest.proposed_by is not None or items_of(newest.items) == shipped_items()):
        return
    version = await queries.insert_shipped(tx, items=_stored(shipped_items()))
    await write_audit_entry(tx, "system", "help_lines_published", "help_lines", str(version))


def _stored(items: Sequence[HelpLine]) -> str:
    return msgspec.json.encode(items).decode()


# What a list must contain --------------------------------------------------------------------------------------


def checked_items(items: Sequence[HelpLine], now: datetime) -> list[HelpLine]:
    """Return the items with clean texts. Raises ValidationFailed, with an entry per wrong field."""
    errors: list[dict[str, str]] = []
    checked = []
    for number, item in enumerate(items):
        try:
            checked.append(_checked_item(f"items[{number}]", item, now))
        except ValidationFailed as error:
            errors += error.fields["errors"]
    if errors:
        raise ValidationFailed(errors=errors)
    lines = [item for item in checked if item.kind == "line"]
    providers = {line.provider.casefold() for line in lines}
    if len({item.id for item in checked}) < len(checked):
        raise invalid_field("items", "must not contain an id twice", code="help_line_twice")
    if len(checked) > MAX_ITEMS:
        raise invalid_field("items", f"must be at most {MAX_ITEMS}", code="too_many_help_lines")
    if len(lines) < MIN_LINES or len(providers) < MIN_PROVIDERS:
        raise invalid_field(
            "items",
            f"must contain at least {MIN_LINES} lines of {MIN_PROVIDERS} providers",
            code="too_few_help_lines",
        )
    if len(lines) == len(checked):
        raise invalid_field("items", "must contain a step that needs no line", code="no_help_step")
    return checked


def _checked_item(field: str, item: HelpLine, now: datetime) -> HelpLine:
    if (item.kind == "line") != bool(item.channels):
        raise invalid_field(f"{field}.channels", "must be there for a line, and not for a step")
    if item.verified_at is not None and item.verified_at > now:
        raise invalid_field(f"{field}.verified_at", "must not be in the future")
    return msgspec.structs.replace(
        item,
        name=checked_text(item.name, f"{field}.name", 80),
        provider=checked_text(item.provider, f"{field}.provider", 80),
        what_for=_checked_texts(item.what_for, f"{field}.what_for"),
        channels=[_checked_channel(channel, f"{field}.channels") for channel in item.channels],
        hours=item.hours and _checked_texts(item.hours, f"{field}.hours"),
        region=_checked_texts(item.region, f"{field}.region"),
        note=item.note and _checked_texts(item.note, f"{field}.note"),
        source=checked_text(item.source, f"{field}.source", 300),
    )


def _checked_texts(texts: BothLanguages, field: str) -> BothLanguages:
    return BothLanguages(
        id=checked_text(texts.id, f"{field}.id", 300), en=checked_text(texts.en, f"{field}.en", 300)
    )


def _checked_channel(channel: HelpChannel, field: str) -> HelpChannel:
    pattern, message = _CHANNELS[channel.kind]
    if not pattern.fullmatch(channel.value):
        raise invalid_field(field, message)
    return channel
