"""Test every operation of the Control Center with every role. A refused call must change nothing."""

from typing import Final

import httpx
import pytest
from litestar import Litestar, get
from litestar.handlers import BaseRouteHandler

from curhat.control_center.endpoints import ROUTES
from curhat.control_center.operators.guards import needed_by, operators_only
from curhat.control_center.operators.permissions import PERMISSIONS, OperatorRole
from curhat.kit.errors import BusinessError
from curhat.kit.http import handle_business_error
from tests.security.operations import ENTRIES, OPERATIONS, send
from tests.support.signed_in import RunningServer, business_rows, problem

FORBIDDEN = (403, "forbidden")

EVERYBODY: Final = frozenset({"admin", "reviewer", "viewer"})
DECIDING: Final = frozenset({"admin", "reviewer"})
ADMIN: Final = frozenset({"admin"})

# The roles that are allowed to call each operation. The table is written by hand. A table generated from the code would
# repeat the errors of the code.
ALLOWED: Final = {
    "sign_out_operator": EVERYBODY,
    "get_operator_account": EVERYBODY,
    "begin_totp": EVERYBODY,
    "confirm_totp": EVERYBODY,
    "renew_recovery_codes": EVERYBODY,
    "change_operator_password": EVERYBODY,
    "list_operator_devices": EVERYBODY,
    "revoke_operator_device": EVERYBODY,
    "get_dashboard": EVERYBODY,
    "get_dashboard_charts": EVERYBODY,
    "list_configuration": EVERYBODY,
    "list_configuration_history": EVERYBODY,
    "change_configuration": ADMIN,
    "list_failed_pairings": EVERYBODY,
    "list_review_cases": EVERYBODY,
    "get_review_case": EVERYBODY,
    "select_review_cases": EVERYBODY,
    "decide_review_case": DECIDING,
    "open_review_case": DECIDING,
    "search_everything": EVERYBODY,
    "decide_review_cases": DECIDING,
    "approve_refund": DECIDING,
    "retry_refund": DECIDING,
    "search_payments": EVERYBODY,
    "get_payment_record": EVERYBODY,
    "search_sessions": EVERYBODY,
    "get_session_record": EVERYBODY,
    "reveal_transcript": DECIDING,
    "list_transcript_requests": EVERYBODY,
    "approve_transcript": DECIDING,
    "list_reports": EVERYBODY,
    "get_report": DECIDING,
    "decide_report": DECIDING,
    "approve_suspension": DECIDING,
    "decide_appeal": DECIDING,
    "reveal_phone": DECIDING,
    "change_customer_suspension": DECIDING,
    "search_customers": EVERYBODY,
    "get_customer_record": EVERYBODY,
    "search_mitras": EVERYBODY,
    "get_mitra_record": EVERYBODY,
    "invite_mitra": ADMIN,
    "change_mitra": ADMIN,
    "list_devices_of_customer": DECIDING,
    "revoke_device_of_customer": DECIDING,
    "revoke_devices_of_customer": DECIDING,
    "list_devices_of_mitra": DECIDING,
    "revoke_device_of_mitra": DECIDING,
    "revoke_devices_of_mitra": DECIDING,
    "list_audit": EVERYBODY,
    "total_payments": EVERYBODY,
    "total_sessions": EVERYBODY,
    "list_mitra_answers": EVERYBODY,
    "list_mitra_requests": EVERYBODY,
    "ask_what_if": DECIDING,
    "list_what_ifs": EVERYBODY,
    "get_what_if": EVERYBODY,
    "cancel_what_if": DECIDING,
    "list_texts": EVERYBODY,
    "list_text_versions": EVERYBODY,
    "get_text_version": EVERYBODY,
    "publish_text": ADMIN,
    "list_help_line_versions": EVERYBODY,
    # A proposal before this call would be the newest one, and only the newest can be published.
    "publish_help_lines": ADMIN,
    "propose_help_lines": ADMIN,
    "list_operators": ADMIN,
    "invite_operator": ADMIN,
    "reset_operator": ADMIN,
    "change_operator": ADMIN,
    "sign_out_other_operator": ADMIN,
}

# These operations need no sign-in.
OPEN_OPERATIONS: Final = {"sign_in_operator", "use_operator_link", "get_gateway_notice"}


def test_the_table_of_roles_lists_every_operation_of_the_control_center() -> None:
    ours = {
        name for name, operation in OPERATIONS.items() if operation.path.startswith("/api/control-center/")
    }
    assert ours == ALLOWED.keys() | OPEN_OPERATIONS


@pytest.mark.rule("S.3")
@pytest.mark.parametrize("role", ["admin", "reviewer", "viewer"])
async def test_a_role_can_call_only_the_operations_that_the_table_allows(
    server: RunningServer, role: OperatorRole
) -> None:
    """A refused call changes nothing."""
    calls = {name: await ENTRIES[name].prepare(server) for name in ALLOWED}
    operator = await server.operator(role)
    refused = [name for name, roles in ALLOWED.items() if role not in roles]
    before = await business_rows(server.database)
    for name in refused:
        answer = await send(server, OPERATIONS[name], calls[name], token=operator.token)
        assert problem(answer) == FORBIDDEN, name
    assert await business_rows(server.database) == before
    for name, roles in ALLOWED.items():
        if role in roles:
            # Use a new operator for each call, because some calls sign out the caller or change the caller's account.
            another = await server.operator(role)
            answer = await send(server, OPERATIONS[name], calls[name], token=another.token)
            assert answer.status_code != 403, (name, answer.text)
            if not name.startswith(("confirm_totp", "renew_recovery_codes", "revoke_operator_device")):
                assert answer.status_code == ENTRIES[name].status, (name, answer.text)


def test_every_operation_requires_an_existing_permission_or_is_in_the_list_of_open_operations() -> None:
    known = {"nothing", *(permission for permissions in PERMISSIONS.values() for permission in permissions)}
    assert {needed_by(handler) for handler in ROUTES} <= known
    opened = {handler.handler_name for handler in ROUTES if needed_by(handler) == "nothing"}
    assert opened == OPEN_OPERATIONS


async def test_an_operation_without_a_known_permission_is_refused_for_every_role(
    server: RunningServer,
) -> None:
    @get("/api/control-center/forgotten")
    async def forgotten() -> str:
        return "secret"

    @get("/api/control-center/misspelt", opt={"needs": "veiw"})
    async def misspelt() -> str:
        return "secret"

    handlers: list[BaseRouteHandler] = [forgotten, misspelt]
    services = server.application.services
    app = Litestar(
        handlers,
        guards=[operators_only(lambda: services.database, lambda: services.settings)],
        exception_handlers={BusinessError: handle_business_error},
        logging_config=None,
    )
    admin = await server.operator("admin")
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("forgotten", "misspelt"):
            answer = await client.get(
                f"/api/control-center/{path}", headers={"Authorization": f"Bearer {admin.token}"}
            )
            assert problem(answer) == FORBIDDEN
            assert "secret" not in answer.text
