"""The HTTP operations on the texts, for customers, for mitras, and for somebody who has not signed in."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery, JSONBody

from curhat.content.texts import service
from curhat.content.texts.errors import AdultsOnly, TextOutdated
from curhat.content.texts.kinds import Language, language_of
from curhat.content.texts.schemas import Acceptance, PublicTexts, TextsToAccept
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers


@get(
    "/api/client/texts",
    operation_id="list_customer_texts",
    tags=["customer"],
    responses=answers({200: TextsToAccept}, *SIGNED_IN, ValidationFailed),
)
async def list_customer_texts(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: NamedDependency[Identity],
    language: FromQuery[Language | None] = None,
) -> TextsToAccept:
    """Return the newest version of each text that a customer accepts before paying (P.1).

    Without `language`, the header Accept-Language decides. The default is Indonesian.
    """
    return await _texts(request, database, customer, language)


@get(
    "/api/mitra/texts",
    operation_id="list_mitra_texts",
    tags=["mitra"],
    responses=answers({200: TextsToAccept}, *MITRA_SIGNED_IN, ValidationFailed),
)
async def list_mitra_texts(
    request: AnyRequest,
    database: NamedDependency[Database],
    mitra: NamedDependency[Identity],
    language: FromQuery[Language | None] = None,
) -> TextsToAccept:
    """Return the newest version of each text that a mitra accepts before going online (P.1).

    Without `language`, the header Accept-Language decides. The default is Indonesian.
    """
    return await _texts(request, database, mitra, language)


# The two operations below store no answer under an Idempotency-Key. The stored digest of the body would reveal the year
# of birth (P.2). A repeated acceptance has no effect, so it needs no key.


@post(
    "/api/client/acceptances",
    operation_id="accept_text_as_customer",
    tags=["customer"],
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound, TextOutdated, AdultsOnly, ValidationFailed),
)
async def accept_text_as_customer(
    database: NamedDependency[Database], customer: NamedDependency[Identity], data: JSONBody[Acceptance]
) -> None:
    """Accept the newest version of one text (P.1). Repeating it changes nothing.

    With the terms, `birth_year` can be sent. The answer to the year of a minor is 403 `adults_only`. Otherwise the
    server keeps only that the person is an adult (P.2).
    """
    async with database.transaction() as tx:
        await service.accept(tx, customer, data)


@post(
    "/api/mitra/acceptances",
    operation_id="accept_text_as_mitra",
    tags=["mitra"],
    status_code=204,
    responses=answers({204: None}, *MITRA_SIGNED_IN, NotFound, TextOutdated, AdultsOnly, ValidationFailed),
)
async def accept_text_as_mitra(
    database: NamedDependency[Database], mitra: NamedDependency[Identity], data: JSONBody[Acceptance]
) -> None:
    """Accept the newest version of one text (P.1). `birth_year` has the meaning that it has for a customer."""
    async with database.transaction() as tx:
        await service.accept(tx, mitra, data)


@get(
    "/api/content/texts",
    operation_id="list_public_texts",
    tags=["content"],
    responses=answers({200: PublicTexts}, ValidationFailed),
)
async def list_public_texts(
    request: AnyRequest, database: NamedDependency[Database], language: FromQuery[Language | None] = None
) -> PublicTexts:
    """Return the newest version of every text. Needs no sign-in.

    Without `language`, the header Accept-Language decides. The default is Indonesian.
    """
    return await service.public_texts(database, _language(request, language))


async def _texts(
    request: AnyRequest, database: Database, person: Identity, language: Language | None
) -> TextsToAccept:
    async with database.transaction() as tx:
        return await service.texts_of(tx, person, _language(request, language))


def _language(request: AnyRequest, asked: Language | None) -> Language:
    return asked or language_of(request.headers.get("accept-language", ""))


ROUTES: list[BaseRouteHandler] = [
    list_customer_texts,
    list_mitra_texts,
    accept_text_as_customer,
    accept_text_as_mitra,
    list_public_texts,
]
