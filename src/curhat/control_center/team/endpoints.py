"""The endpoints of the team. The endpoints open the transactions."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.control_center.operators import passwords
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.errors import EmailTaken
from curhat.control_center.operators.guards import OPEN, needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.team import service
from curhat.control_center.team.errors import LinkInvalid, OperatorDisabled, OwnAccount
from curhat.control_center.team.schemas import (
    LinkUse,
    LinkUsed,
    MadeLink,
    OperatorChange,
    OperatorInvitation,
    OperatorLink,
    Team,
    TeamMember,
)
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers
from curhat.kit.settings import Settings

TEAM: Final = ["team"]


@get(
    "/api/control-center/operators",
    operation_id="list_operators",
    tags=TEAM,
    opt=needs("manage_operators"),
    responses=answers({200: Team}, *OPERATOR_SIGNED_IN),
)
async def list_operators(database: NamedDependency[Database]) -> Team:
    """All operators, with role, state and devices."""
    async with database.transaction() as tx:
        return await service.read_team(tx)


@post(
    "/api/control-center/operators",
    operation_id="invite_operator",
    tags=TEAM,
    status_code=201,
    opt=needs("manage_operators"),
    responses=answers({201: OperatorLink}, *OPERATOR_WITH_KEY, EmailTaken),
)
async def invite_operator(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    data: JSONBody[OperatorInvitation],
) -> Response[Any]:
    """Invite an operator. The admin hands the link of the answer over; the service sends no mail."""
    unusable_hash = await service.make_unusable_hash()
    return await _answer_link(
        request, database, settings, operator, lambda tx: service.invite(tx, operator, data, unusable_hash)
    )


@post(
    "/api/control-center/operators/{operator_id:uuid}/reset",
    operation_id="reset_operator",
    tags=TEAM,
    status_code=201,
    opt=needs("manage_operators"),
    responses=answers({201: OperatorLink}, *OPERATOR_WITH_KEY, NotFound, OwnAccount, OperatorDisabled),
)
async def reset_operator(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    operator_id: FromPath[UUID],
) -> Response[Any]:
    """Take password and authenticator app from an operator, and make a one-time link for new ones.

    An operator who has not used the last link gets a new link, and the last link stops working.
    """
    unusable_hash = await service.make_unusable_hash()
    return await _answer_link(
        request,
        database,
        settings,
        operator,
        lambda tx: service.reset(tx, operator, operator_id, unusable_hash),
    )


async def _answer_link(
    request: AnyRequest,
    database: Database,
    settings: Settings,
    operator: SignedInOperator,
    step: Callable[[Transaction], Awaitable[MadeLink]],
) -> Response[Any]:
    """Run `step` once per Idempotency-Key. Add the secret afterwards, so that no stored answer contains the secret."""
    answer = await command(request, database, operator.identity, step, status=201)
    if answer.status_code != 201:
        return answer
    made = msgspec.json.decode(answer.content, type=MadeLink)
    link = service.with_secret(settings.secret_key, made)
    return Response(link, status_code=201, headers={"Cache-Control": "no-store"})


@patch(
    "/api/control-center/operators/{operator_id:uuid}",
    operation_id="change_operator",
    tags=TEAM,
    opt=needs("manage_operators"),
    responses=answers({200: TeamMember}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed, OwnAccount),
)
async def change_operator(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    operator_id: FromPath[UUID],
    data: JSONBody[OperatorChange],
) -> TeamMember:
    """Change an operator's role, deactivate the operator, or activate the operator again."""
    async with database.transaction() as tx:
        return await service.change(tx, operator, operator_id, data)


@post(
    "/api/control-center/operators/{operator_id:uuid}/sign-out",
    operation_id="sign_out_other_operator",
    tags=TEAM,
    status_code=204,
    opt=needs("manage_operators"),
    responses=answers({204: None}, *OPERATOR_SIGNED_IN, NotFound),
)
async def sign_out_other_operator(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    operator_id: FromPath[UUID],
) -> None:
    """Sign an operator out on every device."""
    async with database.transaction() as tx:
        await service.sign_out(tx, operator, operator_id)


@post(
    "/api/control-center/auth/links",
    operation_id="use_operator_link",
    tags=TEAM,
    status_code=200,
    opt=OPEN,
    responses=answers({200: LinkUsed}, LinkInvalid, ValidationFailed),
)
async def use_operator_link(
    data: JSONBody[LinkUse], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> LinkUsed:
    """Choose a password with the secret of a one-time link. Then sign in with it, and set up the authenticator app."""
    link_id = service.link_of(settings.secret_key, data.secret)
    async with database.transaction() as tx:
        email = await service.find_email_of_link(tx, link_id)
    password_hash = await passwords.OPERATORS_HASHES.hashed(data.password, email, "password")
    async with database.transaction() as tx:
        return await service.use_link(tx, link_id, password_hash)


ROUTES: list[BaseRouteHandler] = [
    list_operators,
    invite_operator,
    reset_operator,
    change_operator,
    sign_out_other_operator,
    use_operator_link,
]
