"""Check that contracts/realtime.json covers every event type, and that mypy checks the type of each event's data."""

import ast
from uuid import UUID

from curhat.app.contracts import EVENT_MODULES
from curhat.dev.statements import SOURCES
from curhat.pairing.events import PAIRING_UPDATED, PAYMENT_UPDATED, REQUEST_OFFERED
from curhat.pairing.schemas import Pairing, Payment
from curhat.realtime.hub import Hub
from curhat.sessions.events import SESSION_STARTED
from curhat.sessions.schemas import MitraSession, Session


def wrong_pairs(
    hub: Hub, user_id: UUID, payment: Payment, pairing: Pairing, session: Session, mitra_session: MitraSession
) -> None:
    """This file contains lines in which mypy must report an error. Nobody calls this function.

    If mypy accepts such a line, mypy reports the `type: ignore` comment of the line as unused.
    """
    PAYMENT_UPDATED.to_customer(user_id, pairing)  # type: ignore[arg-type]
    PAIRING_UPDATED.to_customer(user_id, payment)  # type: ignore[arg-type]
    PAYMENT_UPDATED.to_mitra(user_id, payment)  # type: ignore[arg-type]
    SESSION_STARTED.to_mitra(user_id, session)  # type: ignore[arg-type]
    SESSION_STARTED.to_customer(user_id, mitra_session)  # type: ignore[arg-type]
    REQUEST_OFFERED.to_mitra(user_id, pairing)  # type: ignore[arg-type]
    hub.send_unsequenced(SESSION_STARTED.to_mitra(user_id, mitra_session))  # type: ignore[arg-type]


def modules_calling(*names: str) -> set[str]:
    """Return the modules of the product that call one of these classes."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    return {
        ".".join(("curhat", *path.relative_to(SOURCES).with_suffix("").parts))
        for path, text in texts.items()
        if any(name in text for name in names)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).partition("[")[0] in names
    }


def test_every_event_type_is_declared_in_a_module_that_the_contract_reads() -> None:
    read_by_the_contract = {module.__name__ for module in EVENT_MODULES}
    assert modules_calling("EventType", "UnsequencedEventType") == read_by_the_contract


def test_only_the_module_of_event_types_constructs_events() -> None:
    assert modules_calling("StreamEvent", "UnsequencedEvent") == {"curhat.realtime.event_types"}
