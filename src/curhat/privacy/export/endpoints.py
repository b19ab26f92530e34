"""The HTTP operations of an export (P.6)."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import structlog
from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery
from litestar.response import Stream

from curhat.accounts import service as accounts
from curhat.accounts.endpoints import FRESH_CODE_HEADER
from curhat.accounts.errors import CodeInvalid, FreshCodeMissing
from curhat.journeys.work import DEFAULT_ZONE, zone_of
from curhat.kit.database import Database
from curhat.kit.errors import ValidationFailed
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import SIGNED_IN, answers
from curhat.kit.queries import read_clock
from curhat.kit.settings import Settings
from curhat.privacy.export import service
from curhat.privacy.export.schemas import Export, ExportFormat, Language
from curhat.privacy.export.service import ExportReader
from curhat.privacy.export.writers import Writer, writer_of

log = structlog.get_logger(__name__)

# The server sends pieces of about this size, so that a chat of many short messages needs few system calls.
CHUNK_BYTES: Final = 16 * 1024


async def _export(
    request: AnyRequest,
    database: Database,
    settings: Settings,
    identity: Identity,
    export_format: ExportFormat,
    language: Language,
    zone: str,
) -> Stream:
    """Use up the fresh code, count the export, and begin to send it."""
    writer = writer_of(export_format, identity.role, language, zone_of(zone))
    async with database.transaction() as tx:
        await service.check_limit(tx, identity)
        refusal = await accounts.use_fresh_code(
            tx, settings.secret_key, identity, request.headers.get(FRESH_CODE_HEADER)
        )
        if refusal is None:
            await service.count_export(tx, identity)
        now = await read_clock(tx)
    if refusal is not None:
        # Raise the error after the commit, so that a wrong try stays counted.
        raise refusal
    log.info("privacy.export_begun", role=identity.role, format=export_format)
    reader = ExportReader(database, identity, request.state["token_digest"])
    headers = {
        "Content-Disposition": f'attachment; filename="curhat-{now:%Y-%m-%d}.{export_format}"',
        "Cache-Control": "no-store",
    }
    return Stream(_chunks(writer, reader, now), media_type=writer.media_type, headers=headers)


async def _chunks(writer: Writer, reader: ExportReader, now: datetime) -> AsyncIterator[bytes]:
    chunk = bytearray(writer.begin(now))
    async for piece in reader.pieces():
        chunk += writer.write(piece)
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk + writer.end())
    log.info("privacy.export_sent")


@get(
    "/api/client/me/export",
    operation_id="export_customer_data",
    responses=answers({200: Export}, *SIGNED_IN, FreshCodeMissing, CodeInvalid, ValidationFailed),
)
async def export_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    customer: NamedDependency[Identity],
    format: FromQuery[ExportFormat] = "json",  # noqa: A002  the name of the query parameter
    language: FromQuery[Language] = "id",
    zone: FromQuery[str] = DEFAULT_ZONE,
) -> Stream:
    """Send all data of the customer, as JSON or as a page to read and print. Three a day.

    The header `X-Fresh-Code: <request_id>:<code>` has a new one-time code. `language` and `zone` are those of the page.
    The answer breaks off if the customer signs out meanwhile. A complete JSON ends with `complete`.
    """
    return await _export(request, database, settings, customer, format, language, zone)


@get(
    "/api/mitra/me/export",
    operation_id="export_mitra_data",
    responses=answers({200: Export}, *SIGNED_IN, FreshCodeMissing, CodeInvalid, ValidationFailed),
)
async def export_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    any_mitra: NamedDependency[Identity],
    format: FromQuery[ExportFormat] = "json",  # noqa: A002  the name of the query parameter
    language: FromQuery[Language] = "id",
    zone: FromQuery[str] = DEFAULT_ZONE,
) -> Stream:
    """Send all data of the mitra, as JSON or as a page to read and print. Three a day.

    The header `X-Fresh-Code: <request_id>:<code>` has a new one-time code. `language` and `zone` are those of the page.
    The answer breaks off if the mitra signs out meanwhile. A complete JSON ends with `complete`.
    A suspended mitra may do this, too.
    """
    return await _export(request, database, settings, any_mitra, format, language, zone)


ROUTES: list[BaseRouteHandler] = [export_customer, export_mitra]
