"""The HTTP endpoint that gives everybody the current help lines."""

from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.content.help_lines import queries
from curhat.content.help_lines.schemas import HelpLines
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.kit.http import JSON, AnyRequest
from curhat.kit.openapi import answers

# For this long, a browser uses its copy without asking. Then it asks with the ETag.
MAX_AGE_SECONDS: Final = 300


@get(
    "/api/content/help-lines",
    operation_id="get_help_lines",
    tags=["content"],
    responses=answers({200: HelpLines, 304: None}, NotFound),
)
async def get_help_lines(request: AnyRequest, database: NamedDependency[Database]) -> Response[Any]:
    """Return the current help lines, to everybody. A client keeps the newest copy, and asks with its ETag.

    404: nothing was published. The clients then show the list of their release.
    """
    row = await queries.find_current(database)
    if row is None:
        raise NotFound
    # A version never changes, so its number and the time of its publication identify the answer. A restored database
    # can use a number again.
    etag = f'"{row.version}-{int(row.published_at.timestamp() * 1_000_000):x}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"}
    given = request.headers.get("if-none-match", "")
    if given.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in given.split(",")):
        return Response(None, status_code=304, headers=headers)
    # The stored items are JSON already.
    body = b'{"version":%d,"published_at":%s,"items":%s}' % (
        row.version,
        msgspec.json.encode(row.published_at),
        row.items.encode(),
    )
    return Response(body, media_type=JSON, headers=headers)


ROUTES: list[BaseRouteHandler] = [get_help_lines]
