"""Publishes and accepts texts for tests. Without it, a test database has no text, and nobody has to accept anything."""

import contextlib
from collections.abc import AsyncIterator

import httpx

from curhat.content.texts import service as texts
from curhat.content.texts.kinds import KINDS_OF, TextKind
from curhat.kit.database import Database
from tests.support.server import Person


async def publish_drafts(database: Database) -> None:
    """Publish the drafts of the package, as `curhat seed` does."""
    async with database.transaction() as tx:
        await texts.seed_texts(tx)


# The tests of a browser file share one database. PostgreSQL forbids to delete a text, so only a test does it.
UNPUBLISH = """
ALTER TABLE acceptances DISABLE TRIGGER USER;
ALTER TABLE texts DISABLE TRIGGER USER;
DELETE FROM acceptances;
DELETE FROM texts;
ALTER TABLE texts ENABLE TRIGGER USER;
ALTER TABLE acceptances ENABLE TRIGGER USER;
"""


@contextlib.asynccontextmanager
async def published_drafts(database: Database) -> AsyncIterator[None]:
    """Publish the drafts until the end of the block."""
    await publish_drafts(database)
    try:
        yield
    finally:
        await database.execute(UNPUBLISH)


async def publish_next(database: Database, kind: TextKind) -> int:
    """Publish one more version of a text, and return its number."""
    async with database.transaction() as tx:
        published = await texts.publish(
            tx, kind, body_id="# Baru", body_en="# New", is_draft=False, published_by="a test"
        )
    return published.version


async def accept(person: Person, kind: str, version: int = 1, **more: object) -> httpx.Response:
    """Send the acceptance of one text."""
    return await person.post("/acceptances", {"kind": kind, "version": version, **more}, key="")


async def note_all(database: Database, person: Person) -> None:
    """Write the acceptance of each text that this person must accept, without a call."""
    await database.execute(
        "INSERT INTO acceptances (role, user_id, kind, version) "
        "SELECT $1, $2, kind, version FROM current_texts WHERE kind = ANY ($3) ON CONFLICT DO NOTHING",
        person.role,
        person.id,
        list(KINDS_OF["customer" if person.role == "customer" else "mitra"]),
    )


async def accept_all(person: Person) -> None:
    """Accept every text that the person has not accepted."""
    for text in (await person.get("/texts")).json()["items"]:
        if text["accepted_at"] is None:
            answer = await accept(person, text["kind"], text["version"])
            assert answer.status_code == 204, answer.text
