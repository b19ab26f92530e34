"""Deliberate faults. `make planted-bugs` plants one fault at a time and checks that a test fails.

To plant a fault, the code replaces a piece of a statement, of the schema or of a function. Each fault lists the tests
that must fail. The environment variable PLANTED_BUG names the fault, and conftest.py plants this fault.
"""

import hashlib
import inspect
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curhat.accounts import cookies, service
from curhat.accounts import queries as accounts
from curhat.app import worker
from curhat.app.operations import endpoints as probes
from curhat.app.operations import queries as figure_queries
from curhat.app.operations import status
from curhat.app.restoring import finishing, reconciling
from curhat.content.help_lines import queries as help_line_queries
from curhat.content.help_lines import service as help_lines
from curhat.content.texts import queries as text_queries
from curhat.content.texts import service as texts
from curhat.control_center.operators import queries as operators
from curhat.control_center.operators import throttle
from curhat.control_center.reports import queries as report_queries
from curhat.control_center.reports import service as report_decisions
from curhat.control_center.review import queries as review
from curhat.control_center.review import service as review_service
from curhat.control_center.team import queries as team
from curhat.control_center.transcripts import queries as transcript_queries
from curhat.control_center.transcripts import service as transcripts
from curhat.control_center.what_if import queries as what_if
from curhat.deadlines import loop as deadline_loop
from curhat.deadlines import queries as deadlines
from curhat.deadlines import service as deadline_service
from curhat.dev.statements import number_parameters, parse
from curhat.journeys import availability, blocking, charging, leaving, mitras, paying, searching, transitions
from curhat.journeys import queries as journey_queries
from curhat.journeys.transitions import Transitions
from curhat.kit import connecting, idempotency, restored, signals
from curhat.kit import database as kit_database
from curhat.kit.database import Transaction
from curhat.notifications import outbox
from curhat.notifications import queries as push_queries
from curhat.pairing import cards
from curhat.pairing import queries as pairing_queries
from curhat.pairing import service as pairing
from curhat.payments import queries as payment_queries
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer, RefundAnswer
from curhat.presence import service as presence
from curhat.presence import store
from curhat.privacy.erasure import service as erasure
from curhat.privacy.export import queries as export_queries
from curhat.privacy.export import service as export_service
from curhat.privacy.export import writers
from curhat.privacy.retention import queries as retention_queries
from curhat.realtime import hub
from curhat.realtime import queries as realtime
from curhat.safety.blocks import service as block_service
from curhat.safety.erasure import queries as safety_erasure
from curhat.safety.ratings import queries as rating_queries
from curhat.safety.ratings import states as rating_states
from curhat.safety.reports import queries as reports
from curhat.sessions import absences, extension, extension_pings
from curhat.sessions import queries as sessions
from curhat.sessions import service as session_service
from curhat.sessions import writer as message_writer

SIMULATION = "tests/simulation/test_schedules.py"
PARKED_DEADLINES = "tests/integration/test_parked_deadlines.py"
DATABASE_FAULTS = "tests/integration/test_database_faults.py"
RACES = "tests/races/test_accept_races.py"
PAYING = "tests/journeys/test_paying.py"
LIMITS = "tests/journeys/test_limits.py"
CONSENT = "tests/journeys/test_consent.py"
SEARCHING = "tests/journeys/test_searching.py"
SAME_BESTIE = "tests/journeys/test_same_bestie.py"
SAME_BESTIE_RACES = "tests/races/test_same_bestie_races.py"
EXTENSION = "tests/journeys/test_extension.py"
EXTENSION_RACES = "tests/races/test_extension_races.py"
LEAVING = "tests/journeys/test_leaving.py"
LEAVING_RACES = "tests/races/test_leaving_races.py"
RATINGS = "tests/integration/test_ratings.py"
RATING_SUMS = "tests/unit/test_rating_sums.py"
REVIEW = "tests/control_center/test_review.py"
CODES = "tests/integration/test_accounts_codes.py"
TOKENS = "tests/integration/test_accounts_tokens.py"
GATEWAY_ALERTS = "tests/control_center/test_gateway_alerts.py"
TEAM = "tests/control_center/test_team.py"
HELP_LINES = "tests/control_center/test_help_lines.py"
WHAT_IF = "tests/control_center/test_what_if.py"
CASE_ROUNDS = "tests/control_center/test_case_rounds.py"
UNITS = "tests/control_center/test_units_and_parts.py"
GIVING_UP = "tests/journeys/test_giving_up.py"
JOURNEY_RACES = "tests/races/test_journey_races.py"
OLD_COOKIES = (
    "tests/security/test_authorisation.py"
    "::test_a_person_who_signed_in_before_the_new_cookies_stays_signed_in_and_gets_one"
)
CODE_CEILING = "tests/integration/test_code_ceiling.py"
PROBES = "tests/integration/test_operations.py"
COOKIES = "tests/unit/test_accounts_cookies.py"
HELD = "tests/races/test_held_deadlines.py"
CUSTOMER_PAYMENTS = "tests/journeys/test_customer_payments.py"
PUSH_OUTCOMES = "tests/notifications/test_push_outcomes.py"
SILENCE = (
    f"{EXTENSION}::"
    "test_an_unanswered_extension_is_charged_only_if_the_mitra_was_heard_shortly_before_the_deadline"
)
AT_DEADLINE = (
    f"{EXTENSION}::test_an_unanswered_extension_is_charged_only_if_the_mitra_was_connected_at_the_deadline"
)
STOPPED_DECISION = (
    f"{EXTENSION}::"
    "test_an_unanswered_extension_is_not_charged_if_the_mitra_came_back_while_the_worker_was_stopped"
)
# The answer of presence about mitras who have been connected for more than a day.
NEVER_AWAY = "{each: [__import__('curhat.presence.store').presence.store.FrameAges(0, 1e5, 1e5)] for each in mitra_ids}"
DEAD_PHONE = (
    "tests/journeys/test_same_bestie_and_extensions_over_http.py"
    "::test_an_unanswered_extension_is_not_charged_if_the_phone_of_the_mitra_died_without_closing_its_socket"
)
STOPPED = "tests/integration/test_stopped_transactions.py"
MITRA_AWAY = "tests/integration/test_mitra_away.py"
NOBODY_AFTER_EMPTYING = (
    "tests/integration/test_presence_store.py"
    "::test_nobody_is_not_believed_after_valkey_was_emptied_until_every_process_has_reported"
)
NOBODY_WITHOUT_HEARTBEATS = (
    "tests/integration/test_presence_store.py"
    "::test_nobody_is_not_believed_while_valkey_refuses_the_heartbeats"
)
PRESENCE_OUTAGE = "tests/integration/test_presence_outage.py"
LOCKED_SESSION = (
    "tests/integration/test_sessions_messages.py"
    "::test_a_locked_session_delays_only_its_own_messages_and_keeps_their_order"
)
WORKER = "tests/integration/test_worker.py"
RETENTION = "tests/integration/test_retention.py"
RETENTION_SCHEDULES = "tests/simulation/test_retention_schedules.py"
EXPORT = "tests/journeys/test_export.py"
ERASURE = "tests/journeys/test_erasure.py"
WAKE_UPS = "tests/integration/test_wake_ups.py"
LOST_COMMITS = "tests/integration/test_lost_commits.py"
SOCKETS = "tests/integration/test_realtime_sockets.py"
PRESENCE_SERVICE = "tests/integration/test_presence_service.py"
RESTORE = "tests/integration/test_restore.py"
RESTORED_MONEY = "tests/integration/test_restored_money.py"
EVERY_LOST_OUTCOME = (
    f"{RESTORED_MONEY}"
    "::test_every_charge_and_refund_whose_outcome_the_restore_lost_is_recorded_once_and_has_a_case"
)
POINT_IN_TIME = (
    "tests/crashes/test_point_in_time.py"
    "::test_a_restore_by_hand_after_a_finished_restore_closes_the_database_again"
)
CHOSEN_AFTER_EMPTYING = f"{LIMITS}::test_a_chosen_mitra_who_is_not_in_valkey_yet_does_not_count_as_offline"
NOBODY_FROM_SOME = f"{LIMITS}::test_nobody_is_said_to_be_available_only_from_a_list_that_lacks_no_mitra"
# The function that arms a push deadline, without the condition or the generation of production.
ARM_PUSH = """
CREATE OR REPLACE FUNCTION arm_push(push_kind text, entity_ids uuid[], due timestamptz, latest timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, generation, due_at)
    SELECT push_kind, wanted, {generation}, due FROM unnest(entity_ids) AS wanted WHERE NOT {found}
    ON CONFLICT (kind, entity_id, generation) DO NOTHING;
END $$
"""
BLOCKS = "tests/journeys/test_blocks.py"
BLOCK_RACES = "tests/races/test_block_races.py"
SIGNING_IN = "tests/control_center/test_signing_in.py"
REPORTS = "tests/journeys/test_reports.py"
REPORT_DECISIONS = "tests/control_center/test_reports.py"
REPORT_RACES = "tests/races/test_reports_races.py"


@dataclass(frozen=True)
class Bug:
    """A deliberate fault, with its name and the tests that must fail.

    The function `plant` changes the loaded code. The SQL in `schema` changes the database.
    """

    name: str
    tests: Sequence[str]
    plant: Callable[[], None] | None = None
    schema: str | None = None


def in_statement(queries: Any, name: str, old: str, new: str) -> Callable[[], None]:
    """Replace the text `old` in a statement by `new`.

    The statement must contain `old`. Parameters have the form @name in `old` and `new`. The argument `queries` is the
    generated module.
    """

    def plant() -> None:
        statements = parse(Path(queries.__file__).with_name("queries.sql")).statements
        parameters = next(each for each in statements if each.name == name).parameters
        before, after = (number_parameters(text, parameters) for text in (old, new))
        text: str = getattr(queries, name.upper())
        if before not in text:
            raise LookupError(f"the statement {name} has changed: {old!r} is not in it any more")
        setattr(queries, name.upper(), text.replace(before, after))

    return plant


def together(*plants: Callable[[], None]) -> Callable[[], None]:
    """Combine several replacements into one fault."""

    def plant() -> None:
        for one in plants:
            one()

    return plant


def in_module(module: Any, name: str, replacement: Any) -> Callable[[], None]:
    """Replace a function of a module or class."""

    def plant() -> None:
        if not hasattr(module, name):
            raise LookupError(f"{module} has no {name} any more")
        setattr(module, name, replacement)

    return plant


def in_function(owner: Any, name: str, old: str, new: str) -> Callable[[], None]:
    """Replace a piece of the source of a function of a module or class. The replaced piece must occur exactly once."""

    def plant() -> None:
        text = textwrap.dedent(inspect.getsource(getattr(owner, name)))
        if text.count(old) != 1:
            raise LookupError(f"{name} has changed: {old!r} is not in it once any more")
        module = owner if inspect.ismodule(owner) else sys.modules[owner.__module__]
        defined: dict[str, Any] = {}
        exec(text.replace(old, new), module.__dict__, defined)
        setattr(owner, name, defined[name])

    return plant


def in_database_function(name: str, old: str, new: str) -> str:
    """Return SQL that replaces the text `old` in a function of the database by `new`.

    The function must contain `old`.
    """
    return f"""
    DO $planted$ DECLARE definition text := pg_get_functiondef('{name}'::regproc); BEGIN
        IF position($old${old}$old$ IN definition) = 0 THEN RAISE 'LookupError: {name} has changed'; END IF;
        EXECUTE replace(definition, $old${old}$old$, $new${new}$new$);
    END $planted$
    """


def _signal_at_once(tx: Transaction, channel: str, payload: bytes) -> None:
    tx._sink.publish(channel, payload)


async def _no_case(_tx: Transaction, _payment_id: Any, _reason: Any) -> None:
    return None


async def _always(*_arguments: Any) -> bool:
    return True


async def _refuse_nothing(*_arguments: Any) -> dict[int, Any]:
    return {}


def _ignore(*_arguments: Any, **_keywords: Any) -> None:
    return None


def in_presence_script(old: str, new: str) -> Callable[[], None]:
    """Replace a piece of the script that Valkey runs. The replaced piece must occur exactly once."""

    def plant() -> None:
        if store._SCRIPT.count(old) != 1:
            raise LookupError(f"presence.lua has changed: {old!r} is not in it once")
        store._SCRIPT = store._SCRIPT.replace(old, new)
        # Valkey identifies the script by its hash.
        store._SCRIPT_NAME = hashlib.sha1(store._SCRIPT.encode(), usedforsecurity=False).hexdigest()

    return plant


async def _do_nothing(*_arguments: Any, **_keywords: Any) -> None:
    return None


def _unknown_counts_as_declined() -> None:
    record = payments.record_charge_answer

    async def hasty(tx: Transaction, key: Any, answer: ChargeAnswer) -> Any:
        if answer.status == "processing":
            answer = ChargeAnswer("declined")
        return await record(tx, key, answer)

    payments.record_charge_answer = hasty


def _pending_refund_counts_as_done() -> None:
    record = payments.record_refund_answer

    async def hasty(tx: Transaction, refund_id: Any, answer: RefundAnswer) -> Any:
        if answer.status == "processing":
            answer = RefundAnswer("done")
        return await record(tx, refund_id, answer)

    payments.record_refund_answer = hasty


NO_CASE_IS_REQUIRED = """
DROP TRIGGER payments_unserved_have_a_case ON payments;
DROP TRIGGER sessions_cut_short_have_a_case ON sessions;
DROP TRIGGER refunds_refused_have_a_case ON refunds;
DROP TRIGGER charge_attempts_late_have_a_refund ON charge_attempts;
"""


def _confirm_without_charging() -> None:
    begin: Callable[..., Awaitable[Any]] = payments.begin_confirmation

    async def generous(tx: Transaction, payment: Any) -> Any:
        charge = await begin(tx, payment)
        if charge is not None:
            await payments._confirm(tx, payment.id)
        return None

    payments.begin_confirmation = generous


BUGS: tuple[Bug, ...] = (
    Bug(
        "the first wave of a blast asks a mitra of a block",
        [BLOCKS],
        in_statement(pairing_queries, "open_blast", "AND mitras.id <> ALL (payment.blocked_mitra_ids)", ""),
    ),
    Bug(
        "a later wave asks a mitra of a block",
        [BLOCKS],
        in_statement(
            pairing_queries, "ask_wave", "AND mitras.id <> ALL (open_pairing.blocked_mitra_ids)", ""
        ),
    ),
    Bug(
        "a wave that waited for a block does not see the block",
        [BLOCK_RACES],
        in_statement(
            pairing_queries,
            "ask_wave",
            "mitras.id <> ALL (open_pairing.blocked_mitra_ids)",
            "NOT EXISTS (SELECT 1 FROM blocks WHERE customer_id = open_pairing.customer_id AND mitra_id = mitras.id)",
        ),
    ),
    Bug(
        "a mitra of a block who becomes available is offered the open blast",
        [BLOCKS],
        in_statement(
            pairing_queries, "offer_blasts", "AND able_mitras.id <> ALL (pairings.blocked_mitra_ids)", ""
        ),
    ),
    Bug(
        "a targeted search asks a mitra of a block",
        [BLOCKS],
        in_statement(pairing_queries, "open_targeted", "AND blocks.mitra_id = @mitra_id", "AND false"),
    ),
    Bug(
        "a fallback begins although only a mitra of a block can be asked",
        [BLOCKS],
        in_function(pairing, "anybody_else", ", *await blocks.blocked_mitras(tx, customer_id)", ""),
    ),
    Bug(
        "a payment opens although only a mitra of a block can be asked",
        [BLOCKS],
        in_function(
            availability,
            "ask_gate",
            "others_available(presence, customer_id, *blocked)",
            "others_available(presence, customer_id)",
        ),
    ),
    Bug(
        "a charge begins although only a mitra of a block can be asked",
        [BLOCKS],
        in_function(
            paying,
            "_refuse_empty_search",
            "blocked = await blocks.blocked_mitras(tx, payment.customer_id)",
            "blocked = []",
        ),
    ),
    Bug(
        "a block leaves the open card",
        [BLOCKS],
        in_statement(
            pairing_queries,
            "close_blocked_request",
            "AND mitra_id = @mitra_id AND status = 'offered'",
            "AND mitra_id = @mitra_id AND status = 'offered' AND false",
        ),
    ),
    Bug(
        "a block leaves the open card, in the simulation",
        [SIMULATION],
        in_statement(
            pairing_queries,
            "close_blocked_request",
            "AND mitra_id = @mitra_id AND status = 'offered'",
            "AND mitra_id = @mitra_id AND status = 'offered' AND false",
        ),
    ),
    Bug(
        "a block goes through although an accept of the two has won",
        [BLOCK_RACES],
        in_function(blocking, "block", "if running_id is not None and", "if False and"),
    ),
    Bug(
        "a block does not wait for the begin of a search",
        [BLOCK_RACES],
        in_function(payments, "lock_open", "await lock(tx, payment_id)", "pass"),
    ),
    Bug(
        "a payment opens while a block is under way",
        [BLOCK_RACES],
        in_function(paying, "open_payment", "await blocks.lock_blocks_of(tx, customer_id)", "pass"),
    ),
    Bug(
        "two blocks at the same time exceed the limit",
        [BLOCK_RACES],
        in_function(block_service, "block", 'if identity.role == "mitra":', "if False:"),
    ),
    Bug(
        "the database allows a block of two who had no session",
        [BLOCKS],
        schema="DROP TRIGGER blocks_after_a_session ON blocks",
    ),
    Bug(
        "a fault of the surroundings uses up a try of the deadline",
        [PARKED_DEADLINES],
        in_function(
            deadline_service,
            "is_interruption",
            "return is_away(error) or",
            "return False and is_away(error) or",
        ),
    ),
    Bug(
        "two admins who lose their role at the same time do not wait for each other",
        [TEAM],
        schema=in_database_function(
            "keep_an_active_admin",
            "PERFORM pg_advisory_xact_lock(hashtextextended('active admins', 0));",
            "",
        ),
    ),
    Bug(
        "a demotion counts the admins before the other demotion has committed",
        [TEAM],
        in_statement(
            operators,
            "lock_active_admins",
            "pg_advisory_xact_lock(hashtextextended('active admins', 0))",
            "hashtextextended('active admins', 0)",
        ),
    ),
    Bug(
        "an admin goes on after another admin has taken the access",
        [TEAM],
        in_statement(team, "is_active_admin", "AND role = 'admin'", ""),
    ),
    Bug(
        "an admin publishes the help lines that the same admin proposed",
        [HELP_LINES],
        in_function(help_lines, "publish", "if row.proposed_by == operator_id:", "if False:"),
        "ALTER TABLE help_line_versions DROP CONSTRAINT help_line_versions_need_two_admins",
    ),
    Bug(
        "an old proposal of help lines is published over a newer one",
        [HELP_LINES],
        in_function(help_lines, "publish", "newest.version != version", "newest.version < version"),
    ),
    Bug(
        "a proposal of help lines does not wait for an approval",
        [HELP_LINES],
        in_statement(
            help_line_queries,
            "lock_versions",
            "pg_advisory_xact_lock(hashtextextended('help lines', 0))",
            "hashtextextended('help lines', 0)",
        ),
    ),
    Bug(
        "the database accepts help lines of one provider",
        [HELP_LINES],
        schema=in_database_function("is_publishable_help", "count(DISTINCT", "count("),
    ),
    Bug(
        "a published version of the help lines can be changed",
        [HELP_LINES],
        schema="DROP TRIGGER help_line_versions_never_changed ON help_line_versions",
    ),
    Bug(
        "two workers replay at the same time",
        [WHAT_IF],
        in_statement(
            what_if,
            "claim_what_if",
            "AND NOT EXISTS (SELECT FROM what_ifs AS other WHERE other.status = 'running')",
            "",
        ),
        "DROP INDEX what_ifs_one_running",
    ),
    Bug(
        "a one-time link of an operator can be used twice",
        [TEAM],
        in_statement(
            team,
            "use_link",
            "DELETE FROM operator_links WHERE id = @link_id AND expires_at > curhat_now() RETURNING operator_id",
            "SELECT operator_id FROM operator_links WHERE id = @link_id AND expires_at > curhat_now()",
        ),
    ),
    Bug(
        "a parked deadline is never tried again",
        [PARKED_DEADLINES],
        in_statement(deadlines, "due_parked_deadlines", "parked_at IS NOT NULL", "parked_at IS NULL"),
    ),
    Bug(
        "a commit whose answer is lost is told as failed",
        [DATABASE_FAULTS],
        in_function(kit_database, "_commit", "if _is_refused_commit(error):", "if True:"),
    ),
    Bug(
        "a commit whose standby is lost is told as made",
        [DATABASE_FAULTS],
        in_function(kit_database, "_commit", "if connection.warnings_heard != warnings_before:", "if False:"),
    ),
    Bug(
        "the kernel is not asked to notice a dark server",
        [DATABASE_FAULTS],
        in_function(connecting, "notice_dark_server", "if opened.family == socket.AF_UNIX:", "if True:"),
    ),
    Bug(
        "the deadline is compared before the locks are held",
        [RACES],
        together(
            in_statement(
                journey_queries,
                "accept_and_start",
                "SELECT curhat_now() AS now FROM locked_request",
                "SELECT asked.looked_at AS now FROM locked_request, asked",
            ),
            in_statement(
                journey_queries,
                "accept_and_start",
                "pairings.status AS pairing_status\n",
                "pairings.status AS pairing_status, curhat_now() AS looked_at\n",
            ),
        ),
    ),
    Bug(
        "the deadline is not compared at all",
        [RACES],
        in_statement(journey_queries, "accept_and_start", "AND pairing.deadline_at > moment.now", ""),
    ),
    Bug(
        "neither the accept nor the database checks the capacity",
        [SEARCHING],
        in_statement(
            journey_queries,
            "accept_and_start",
            "AND mitra.can_take_customer",
            "AND mitra.online AND mitra.suspended_at IS NULL",
        ),
        "DROP TRIGGER mitras_capacity_never_exceeded ON mitras",
    ),
    Bug(
        "a mitra whose toggle is off may accept",
        [SEARCHING],
        in_statement(
            journey_queries,
            "accept_and_start",
            "AND mitra.can_take_customer",
            "AND mitra.suspended_at IS NULL AND mitra.active_sessions < mitra.max_customers",
        ),
    ),
    Bug(
        "the pairing is not locked while rejections are counted",
        [RACES],
        together(
            in_statement(payment_queries, "lock_payment", " FOR NO KEY UPDATE", ""),
            in_statement(pairing_queries, "lock_pairing", " FOR NO KEY UPDATE", ""),
        ),
    ),
    Bug(
        "a window may be closed early",
        [RACES, SIMULATION],
        in_statement(
            pairing_queries,
            "lock_windows",
            "locked_pairings.deadline_at <= moment.now AS is_over",
            "true AS is_over",
        ),
    ),
    Bug(
        "a session may end early",
        ["tests/integration/test_sessions_ending.py"],
        in_statement(sessions, "end_due_sessions", "AND locked.ends_at <= moment.now", ""),
    ),
    Bug(
        "a deadline is claimed before it is due",
        [PAYING, SIMULATION],
        together(
            in_statement(deadlines, "due_deadlines", "AND due_at <= (SELECT curhat_now())", ""),
            in_statement(deadlines, "claim_deadlines", "AND due_at <= curhat_now()", ""),
            in_statement(
                payment_queries, "expire_payments", "AND locked_payments.expires_at <= moment.now", ""
            ),
        ),
    ),
    Bug(
        "signals go out before the commit",
        ["tests/integration/test_realtime_streams.py", "tests/integration/test_realtime_sockets.py"],
        in_module(kit_database.Transaction, "signal", _signal_at_once),
    ),
    Bug(
        "a failure opens no case",
        [SEARCHING, SIMULATION],
        in_module(payments, "open_cases", _no_case),
        NO_CASE_IS_REQUIRED,
    ),
    Bug(
        "a failure opens no case, and only the database notices",
        [SEARCHING, SIMULATION],
        in_module(payments, "open_cases", _no_case),
    ),
    Bug(
        "a decided case stays decided when more money is undelivered",
        [CASE_ROUNDS, SIMULATION],
        in_statement(
            payment_queries, "open_cases", "WHERE review_cases.status = 'open' OR", "WHERE false AND"
        ),
        NO_CASE_IS_REQUIRED,
    ),
    Bug(
        "a decision covers a charge that may still be delivered",
        [CASE_ROUNDS, SIMULATION],
        schema=in_database_function(
            "charges_decided",
            "FROM undelivered_charges",
            "FROM (SELECT id AS charge_attempt_id, payment_id, decided_round FROM charge_attempts"
            " WHERE status = 'approved' UNION SELECT charge_attempt_id, payment_id, decided_round"
            " FROM undelivered_charges) AS undelivered_charges",
        ),
    ),
    Bug(
        "a decision covers charges that its operator did not see",
        [CASE_ROUNDS, SIMULATION],
        in_function(review_service, "_require_version", "expected != version", "False"),
    ),
    Bug(
        "a case has the same version if another charge of the same amount is in question",
        [CASE_ROUNDS],
        in_function(
            review_service,
            "_version_of",
            'return f"{case_round}-',
            'keys = str(unit.left_rp).encode()\n    return f"{case_round}-',
        ),
    ),
    Bug(
        "a refund of a part refunds the whole charge",
        [UNITS, SIMULATION],
        in_function(review_service, "_request_refund", "        amount_rp,\n", "        charge.amount_rp,\n"),
    ),
    Bug(
        "further refunds of a charge count from the whole charge",
        [UNITS],
        schema=in_database_function(
            "refunds_at_most_the_charge", "charged_rp < NEW.amount_rp +", "false AND 0 <"
        ),
    ),
    Bug(
        "two refunds of one charge do not wait for each other",
        [UNITS],
        schema=in_database_function("refunds_at_most_the_charge", " FOR NO KEY UPDATE", ""),
    ),
    Bug(
        "a decision covers only the case that the operator looks at, and not its session",
        [UNITS],
        in_function(
            review_service,
            "_in_question",
            'cases = [each for each in members if each.status == "open"]',
            "cases = [own]",
        ),
    ),
    Bug(
        "the approval limit counts on each case of a session alone",
        [UNITS],
        in_function(
            review_service,
            "decide_case",
            "max(refund_rp + unit.given_rp, bulk_rp)",
            "max(s for _, s in [*shares, (None, 0)])",
        ),
    ),
    Bug(
        "the approval limit counts on each case of a bulk decision alone",
        [UNITS],
        in_function(review_service, "decide_case", "max(refund_rp + unit.given_rp, bulk_rp)", "refund_rp"),
    ),
    Bug(
        "the approval limit counts on each part of a refund alone",
        [UNITS],
        in_function(review_service, "decide_case", "refund_rp + unit.given_rp", "refund_rp"),
    ),
    Bug(
        "a part that is refused after the rest was decided stays decided",
        [UNITS],
        in_function(
            payments,
            "record_refund_answer",
            "await _question_refused_refund(tx, payment_id, refund_id)",
            "pass",
        ),
    ),
    Bug(
        "a payment counts as refunded when a part of it is given back",
        [UNITS],
        in_statement(payment_queries, "mark_payment_refunded", "charge_attempts.amount_rp <= (", "0 <= ("),
    ),
    Bug(
        "a decision covers no charge",
        [CASE_ROUNDS, SIMULATION],
        schema="DROP TRIGGER review_cases_decide_charges ON review_cases",
    ),
    Bug(
        "a refund that nobody approved stays decided when the case opens again",
        [CASE_ROUNDS, SIMULATION],
        schema=in_database_function("review_case_opened_again", "IF is_withdrawn THEN", "IF false THEN"),
    ),
    Bug(
        "a refused automatic refund opens no case",
        [CASE_ROUNDS, SIMULATION],
        in_function(
            payments, "record_refund_answer", 'await open_cases(tx, [payment_id], "refund_failed")', "pass"
        ),
        NO_CASE_IS_REQUIRED,
    ),
    Bug(
        "a retry refunds a charge that nobody has decided about",
        [CASE_ROUNDS],
        in_function(
            review_service,
            "retry_refund",
            "(charge, min(charge.refused_rp, charge.amount_rp))\n        for charge in undelivered\n"
            "        if charge.refused_rp is not None",
            "(charge, charge.amount_rp)\n        for charge in undelivered",
        ),
    ),
    Bug(
        "a refund that the gateway called failed stays failed when it is done after all",
        [GATEWAY_ALERTS, SIMULATION],
        in_function(
            payments,
            "record_refund_answer",
            "if answer.status == refund.refund_status:",
            'if refund.refund_status != "requested":',
        ),
    ),
    Bug(
        "a refund is sent again without a question about the refund that the gateway refused",
        [GATEWAY_ALERTS, SIMULATION],
        in_statement(payment_queries, "find_requested_refund", "AND earlier.status = 'failed'", "AND false"),
    ),
    Bug(
        "a repeated refund stays requested when the first one is done after all",
        [GATEWAY_ALERTS, SIMULATION],
        in_function(payments, "make_room", "if not others:", "if True:"),
    ),
    Bug(
        "nobody hears of an approved charge that is not recorded",
        [GATEWAY_ALERTS, LOST_COMMITS],
        in_function(payments, "_answer_charge", 'if answer.status == "approved":', "if False:"),
    ),
    Bug(
        "a refund that the gateway keeps pending counts as done",
        [REVIEW, SIMULATION],
        _pending_refund_counts_as_done,
    ),
    Bug(
        "a charge that stays processing is never given up",
        [GIVING_UP, SIMULATION],
        in_module(charging, "give_up_charge", _do_nothing),
    ),
    Bug(
        "a charge is given up as soon as the time to pay is over",
        [GIVING_UP],
        in_statement(payment_queries, "lock_payment", "interval '10 minutes'", "interval '0 minutes'"),
    ),
    Bug(
        "an approval confirms a payment whose charge should have been given up",
        [GIVING_UP, SIMULATION],
        in_function(payments, "_approved", "    if payment.is_given_up:", "    if False:"),
    ),
    Bug(
        "a late approval is not refunded",
        [PAYING, SIMULATION],
        in_module(payments, "request_refund", _do_nothing),
    ),
    Bug(
        "an unknown answer of the gateway is treated as a decline",
        [PAYING],
        _unknown_counts_as_declined,
    ),
    Bug(
        "a payment is confirmed before the gateway has answered",
        [PAYING, SIMULATION],
        _confirm_without_charging,
    ),
    Bug(
        "a mitra who rejected is asked again",
        [SEARCHING],
        together(
            in_statement(
                pairing_queries,
                "offer_blasts",
                "AND (requests.id IS NULL OR requests.close_reason IN ('went_offline', 'at_capacity'))",
                "",
            ),
            in_statement(
                pairing_queries, "offer_blasts", "AND close_reason IN ('went_offline', 'at_capacity')", ""
            ),
        ),
    ),
    Bug(
        "a wave asks a mitra who rejected",
        [SEARCHING],
        together(
            in_statement(
                pairing_queries,
                "ask_wave",
                "AND (status <> 'closed' OR close_reason NOT IN ('went_offline', 'at_capacity'))",
                "AND status = 'offered'",
            ),
            in_statement(
                pairing_queries,
                "ask_wave",
                "WHERE requests.status = 'closed' AND requests.close_reason IN ('went_offline', 'at_capacity')",
                "",
            ),
        ),
    ),
    Bug(
        "the signals of a person go to every process",
        [f"{SOCKETS}::test_a_process_receives_only_the_signals_of_the_people_whom_it_holds"],
        in_function(signals.Signals, "_send", "if not person or self._tells_everybody:", "if True:"),
    ),
    Bug(
        "a process of the previous release gets no signals of a person",
        [f"{SOCKETS}::test_a_process_of_the_previous_release_gets_every_signal"],
        in_function(signals.Signals, "_send", "if not person or self._tells_everybody:", "if not person:"),
    ),
    Bug(
        "a process does not follow its people again after it has lost Valkey",
        [f"{SOCKETS}::test_the_processes_follow_their_people_again_after_valkey_has_lost_the_subscriptions"],
        in_function(signals.Signals, "_receive", "self._changed.update(self._followed)", "pass"),
    ),
    Bug(
        "nobody closes the requests of many losers",
        [SEARCHING],
        in_function(searching, "accept", "if won.closes_later:", "if False:"),
    ),
    Bug(
        "a person may be asked to listen to themself",
        [SEARCHING, SIMULATION],
        in_statement(pairing_queries, "offer_blasts", "AND able_mitras.id <> pairings.customer_id", ""),
    ),
    Bug(
        "a wave asks the customer who is also a mitra",
        [SEARCHING],
        in_statement(pairing_queries, "ask_wave", "AND mitras.id <> open_pairing.customer_id", ""),
    ),
    Bug(
        "a blast does not ask its later waves",
        [SEARCHING],
        in_function(pairing, "ask_waves", "if wave.has_more or wave.waited:", "if False:"),
    ),
    Bug(
        "a blast has no wave after it was opened",
        [SEARCHING],
        in_function(transitions.Transitions, "_ask_waves", "if blast_ids:", "if False:"),
    ),
    Bug(
        "a wave asks everybody at once",
        [SEARCHING],
        together(
            in_statement(pairing_queries, "open_blast", "LIMIT @wave_size + 1", ""),
            in_statement(pairing_queries, "open_blast", "WHERE place <= @wave_size", ""),
        ),
    ),
    Bug(
        "a wave ignores who has waited longest",
        [SEARCHING],
        in_statement(
            pairing_queries,
            "open_blast",
            "ORDER BY mitras.active_sessions > 0, mitras.waiting_since, mitras.id",
            "ORDER BY mitras.id",
        ),
    ),
    Bug(
        "a newly available mitra does not wait for its wave",
        [SEARCHING],
        in_statement(pairing_queries, "offer_blasts", "AND NOT pairings.waits_for_wave", ""),
    ),
    Bug(
        "a blast is rejected by all before its last wave",
        [SEARCHING],
        in_statement(
            pairing_queries,
            "can_ask_another",
            "AND NOT EXISTS",
            "AND NOT pairings.waits_for_wave AND NOT EXISTS",
        ),
    ),
    Bug(
        "the time of a blast is up before its last wave, and it counts as rejected by all",
        [SEARCHING],
        in_function(pairing, "window_over", "waits_for_wave=pairing.waits_for_wave", "waits_for_wave=False"),
    ),
    Bug(
        "an incomplete offer counts as complete",
        [RACES],
        in_statement(
            pairing_queries,
            "offer_blasts",
            "(SELECT count(*) FROM locked_pairings) = cardinality(@pairing_ids)",
            "cardinality(@pairing_ids) > 0",
        ),
    ),
    Bug(
        "the mark of a newly available mitra is removed before the offers",
        [
            "tests/integration/test_presence_service.py::test_an_offer_is_repeated_until_a_process_has_completed_it"
        ],
        in_function(
            presence.Presence,
            "_tell_pairing",
            "if marks and await self.hooks.newly_available(list(marks)):",
            "if marks and (await self._store.offered(marks), await self.hooks.newly_available(list(marks))):",
        ),
    ),
    Bug(
        "a late offer removes the mark of a mitra who became available again",
        [f"{PRESENCE_SERVICE}::test_a_mitra_who_becomes_available_during_an_offer_is_offered_again"],
        in_presence_script(
            "HGET', KEYS[i], 'newly_available') == ARGV[i]", "HEXISTS', KEYS[i], 'newly_available') == 1"
        ),
    ),
    Bug(
        "a mitra's capacity is not freed at the end of a session",
        [SEARCHING, SIMULATION],
        in_module(presence, "release_places", _do_nothing),
    ),
    Bug(
        "the server stores a message after the session's end",
        ["tests/integration/test_sessions_messages.py", SIMULATION],
        in_statement(
            sessions,
            "send_messages",
            "locked.status = 'active' AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL)",
            "locked.status = 'active'",
        ),
    ),
    Bug(
        "a stream skips a number",
        ["tests/integration/test_realtime_streams.py", SIMULATION],
        schema=in_database_function(
            "append_events", "streams.head + excluded.head", "streams.head + excluded.head + 1"
        ),
    ),
    Bug(
        "the server does not store an answer under its idempotency key",
        ["tests/integration/test_idempotency.py"],
        in_module(idempotency, "insert_answer", _do_nothing),
    ),
    Bug(
        "only a session uses up the trial",
        [LIMITS],
        schema="""
        CREATE OR REPLACE FUNCTION trial_is_used(of_customer_id uuid) RETURNS boolean LANGUAGE sql STABLE
            RETURN EXISTS (SELECT 1 FROM sessions WHERE sessions.customer_id = of_customer_id AND sessions.is_trial)
        """,
    ),
    Bug(
        "a confirmation charges for a search that can ask nobody",
        [LIMITS],
        in_module(pairing, "can_ask_anybody", _always),
    ),
    Bug(
        "two openings at once pass the limit together",
        [f"{LIMITS}::test_two_concurrent_openings_do_not_exceed_the_limit_together"],
        in_function(payments, "open_payment", '"session", counted=1', '"session", counted=1_000'),
    ),
    Bug(
        "each server process counts only its own messages",
        ["tests/integration/test_sessions_messages.py"],
        in_module(session_service, "_refuse_fast_senders", _refuse_nothing),
    ),
    Bug(
        "a customer may open a second journey",
        [PAYING],
        in_statement(
            payment_queries,
            "open_payment",
            "ON CONFLICT (customer_id) WHERE purpose = 'session' "
            "AND status IN ('pending', 'confirming', 'confirmed') DO NOTHING",
            "",
        ),
        "DROP INDEX payments_one_open_journey",
    ),
    Bug(
        "a decided case may be decided again",
        [REVIEW],
        together(
            in_statement(review, "lock_case", "review_cases.status", "'open'::text AS status"),
            in_statement(review, "decide_case", "AND status = 'open'", ""),
        ),
        "DROP TRIGGER review_cases_decided_once ON review_cases",
    ),
    Bug(
        "an operator's other decision on a decided case looks accepted",
        [f"{REVIEW}::test_an_operator_cannot_replace_an_earlier_decision_by_another_decision"],
        in_function(review_service, "_is_same_decision", " or case.decision != decision", ""),
    ),
    Bug(
        "an operator approves their own refund",
        [REVIEW],
        in_statement(
            review,
            "lock_case",
            "review_cases.decision, review_cases.decided_by",
            "review_cases.decision, NULL::uuid AS decided_by",
        ),
        "ALTER TABLE review_cases DROP CONSTRAINT review_cases_approval",
    ),
    Bug(
        "a payment is marked as refunded when the refund is requested",
        [REVIEW],
        in_statement(
            payment_queries,
            "request_refund",
            "INSERT INTO refunds",
            "WITH early AS (UPDATE payments SET status = 'refunded' WHERE id = @payment_id AND status = 'unserved') "
            "INSERT INTO refunds",
        ),
    ),
    Bug(
        "a code of an authenticator app may be used twice",
        [SIGNING_IN],
        in_statement(
            operators,
            "use_totp",
            "totp_last_step = @totp_last_step",
            "totp_last_step = least(@totp_last_step::bigint, 0)",
        ),
    ),
    Bug(
        "attempts to sign in as an operator are not counted",
        [SIGNING_IN],
        in_statement(operators, "count_sign_in_tries", "tried_at > moment.now", "tried_at < moment.now"),
    ),
    Bug(
        "wrong passwords of strangers delay a known device",
        [SIGNING_IN],
        in_function(
            throttle,
            "refuse_while_delayed",
            "None if requester.is_known_device else remaining(",
            "remaining(",
        ),
    ),
    Bug(
        "codes that strangers ask for delay a known device",
        [CODES],
        in_function(
            service, "request_code", "None if requester.is_known_device else remaining(", "remaining("
        ),
    ),
    Bug(
        "a token of before a suspension is valid again when the suspension is lifted",
        [TOKENS],
        in_statement(accounts, "lift_suspension", "AND revoked_at IS NULL", "AND false"),
    ),
    Bug(
        "the use of an ended token revives it",
        [TOKENS],
        in_statement(accounts, "touch_tokens", "AND expires_at > curhat_now()", ""),
    ),
    Bug(
        "the audit can be changed",
        ["tests/control_center/test_audit.py"],
        schema="DROP TRIGGER audit_entries_append_only ON audit_entries",
    ),
    Bug(
        "the deadline of a targeted window is compared before the lock",
        [f"{SAME_BESTIE_RACES}::test_an_answer_that_waits_for_a_lock_until_the_window_is_over_is_refused"],
        together(
            in_statement(
                pairing_queries, "lock_pairing", "(SELECT * FROM", "(SELECT *, curhat_now() AS looked_at FROM"
            ),
            in_statement(
                pairing_queries,
                "lock_pairing",
                "deadline_at <= curhat_now()",
                "deadline_at <= looked_at",
            ),
        ),
    ),
    Bug(
        "the deadline of a fallback is compared before the lock",
        [
            f"{SAME_BESTIE_RACES}::test_a_fallback_is_not_taken_if_the_answer_waits_for_a_lock_until_after_the_deadline"
        ],
        together(
            in_statement(
                pairing_queries, "lock_pairing", "(SELECT * FROM", "(SELECT *, curhat_now() AS looked_at FROM"
            ),
            in_statement(
                pairing_queries,
                "lock_pairing",
                "fallback_answer_by <= curhat_now()",
                "fallback_answer_by <= looked_at",
            ),
        ),
    ),
    Bug(
        "an answer to a fallback is accepted after the deadline",
        [
            f"{SAME_BESTIE}::test_the_payment_session_expires_with_a_case_when_the_customer_ignores_the_fallback",
            SIMULATION,
        ],
        in_function(pairing, "lock_failed", " or pairing.answer_is_late", ""),
    ),
    Bug(
        "a fallback that was declined may be taken",
        [f"{SAME_BESTIE}::test_declining_the_fallback_twice_ends_the_journey_once"],
        in_function(
            pairing, "lock_failed", 'fallback_status != "open"', 'fallback_status not in ("open", "declined")'
        ),
    ),
    Bug(
        "a fallback asks the mitra who did not accept",
        [
            f"{SAME_BESTIE}::test_the_fallback_is_a_blast_without_the_mitra_who_rejected",
            SIMULATION,
        ],
        in_function(
            pairing,
            "take_fallback",
            "pairing.target_mitra_id if pairing.failure_tag in LEAVES_THE_MITRA_OUT else None",
            "None",
        ),
    ),
    Bug(
        "a targeted pairing stays open after its mitra goes offline",
        [
            f"{SAME_BESTIE}::test_the_targeted_pairing_fails_when_its_mitra_goes_offline_even_if_the_mitra_returns",
            SIMULATION,
        ],
        in_function(pairing, "withdraw", 'if pairing.kind == "targeted":', "if False:"),
    ),
    Bug(
        "a chosen mitra's card stays open after the mitra goes offline",
        [
            f"{SAME_BESTIE}::test_the_targeted_pairing_fails_when_its_mitra_goes_offline_even_if_the_mitra_returns",
            SIMULATION,
        ],
        in_statement(
            pairing_queries,
            "withdraw_requests",
            "WHERE mitra_id = @mitra_id AND status = 'offered' ORDER",
            "WHERE mitra_id = @mitra_id AND status = 'offered' "
            "AND (SELECT kind FROM pairings WHERE id = requests.pairing_id) = 'blast' ORDER",
        ),
    ),
    Bug(
        "a chosen mitra at capacity gets the card",
        [f"{SAME_BESTIE}::test_the_targeted_pairing_fails_immediately_when_its_mitra_cannot_be_asked"],
        in_statement(
            pairing_queries, "open_targeted", "can_take_customer AND", "online AND suspended_at IS NULL AND"
        ),
    ),
    Bug(
        "a failure opens a case although the fallback succeeded",
        [
            f"{SAME_BESTIE}::test_a_successful_fallback_marks_the_failed_pairing_as_recovered_and_opens_no_case",
            SIMULATION,
        ],
        in_function(
            searching,
            "accept",
            "    started = _started_session(",
            """
    if won.kind == "blast" and won.target_mitra_id:
        from curhat.payments import service as payments
        await payments.open_cases(tx, [won.payment_id], "no_session")
    started = _started_session(""",
        ),
    ),
    Bug(
        "a failure is not marked as recovered after the fallback succeeded",
        [
            f"{SAME_BESTIE}::test_a_successful_fallback_marks_the_failed_pairing_as_recovered_and_opens_no_case",
            SIMULATION,
        ],
        in_statement(journey_queries, "mark_recovered", "SET recovered = true", "SET recovered = false"),
    ),
    Bug(
        "an extension may be approved after its deadline",
        [f"{EXTENSION}::test_an_answer_after_the_deadline_is_refused_even_if_the_worker_is_late"],
        in_function(extension, "approve_by_mitra", "extension.is_over or ", ""),
    ),
    Bug(
        "an extension is charged when the customer asks for it",
        [
            f"{EXTENSION}::test_an_extension_that_the_mitra_rejects_twice_is_rejected_once_and_not_charged",
            SIMULATION,
        ],
        in_function(
            extension,
            "request",
            "    opened = await",
            "    await payments.begin_extension_charges(tx, [payment_id], deadline_at)\n    opened = await",
        ),
        "DROP TRIGGER charge_attempts_of_an_approved_extension ON charge_attempts",
    ),
    Bug(
        "a missing answer approves although the mitra is not connected",
        [
            f"{EXTENSION}::test_an_unanswered_extension_is_rejected_if_its_mitra_is_not_known_to_be_connected",
            SIMULATION,
        ],
        in_function(
            transitions.Transitions,
            "_close_extension_windows",
            "await or_none(self._presence.frame_ages(list(mitra_ids))) or {}",
            NEVER_AWAY,
        ),
    ),
    Bug(
        "a missing answer approves although presence is unknown",
        [
            f"{EXTENSION}::test_an_unanswered_extension_is_rejected_if_its_mitra_is_not_known_to_be_connected",
            SIMULATION,
        ],
        in_function(
            Transitions,
            "_close_extension_windows",
            "await or_none(self._presence.frame_ages(list(mitra_ids))) or {}",
            "await or_none(self._presence.frame_ages(list(mitra_ids)))\n"
            f"    ages = {NEVER_AWAY} if ages is None else ages",
        ),
    ),
    Bug(
        "a mitra may approve after the toggle went off",
        [f"{EXTENSION}::test_an_extension_is_rejected_when_its_mitra_goes_offline_even_if_the_mitra_returns"],
        in_statement(sessions, "lock_extensions", " AND NOT locked.mitra_went_offline", ""),
        "ALTER TABLE extensions DROP CONSTRAINT extensions_nobody_there_approves_nothing",
    ),
    Bug(
        "going offline does not reject a pending extension",
        [
            f"{EXTENSION}::test_an_extension_is_rejected_when_its_mitra_goes_offline_even_if_the_mitra_returns",
            SIMULATION,
        ],
        in_function(mitras, "intent_changed", "await extension.toggle_went_off(tx, mitra_id)", "pass"),
    ),
    Bug(
        "a snapshot tells that the toggle went off before the event of the decision",
        [f"{EXTENSION}::test_no_snapshot_shows_that_the_toggle_went_off_before_the_event_of_the_decision"],
        in_function(extension, "_extension_of", 'row.status != "pending" and ', ""),
    ),
    Bug(
        "a session ends while an extension waits for its answer",
        [
            f"{EXTENSION}::test_a_session_does_not_end_while_an_extension_is_pending",
            SIMULATION,
        ],
        in_statement(
            sessions,
            "end_due_sessions",
            "        AND locked.open_extension_id IS NULL\n    RETURNING",
            "    RETURNING",
        ),
    ),
    Bug(
        "the gateway's approval of an extension is accepted after the timeout",
        [
            f"{EXTENSION_RACES}::test_a_charge_is_refunded_if_its_approval_waits_for_a_lock_until_after_the_thirty_seconds",
            SIMULATION,
        ],
        in_function(
            payments,
            "_approved",
            'waits_for_it = payment.status == "confirming" and not payment.is_over',
            'waits_for_it = payment.status == "confirming"',
        ),
    ),
    Bug(
        "a late approval of an extension's charge is not refunded",
        [
            f"{EXTENSION}::test_a_charge_that_the_gateway_approves_after_thirty_seconds_is_refunded",
            SIMULATION,
        ],
        in_function(
            payments,
            "_approved",
            "    await request_refund(",
            '    if payment.purpose == "session":\n        await request_refund(',
        ),
    ),
    Bug(
        "the payment of a rejected extension stays open",
        [
            f"{EXTENSION}::test_an_extension_that_the_mitra_rejects_twice_is_rejected_once_and_not_charged",
            SIMULATION,
        ],
        in_function(
            extension,
            "_reject",
            "    await payments.abandon_extensions(tx, [extension.payment_id for extension, _ in decisions])\n",
            "",
        ),
    ),
    Bug(
        "the transaction of a process that has stopped is never ended",
        [STOPPED],
        in_function(
            kit_database,
            "session_settings",
            '"idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),',
            "",
        ),
    ),
    Bug(
        "the worker does not prune",
        [WORKER],
        in_function(worker, "run", "                    tasks.create_task(_prune(services)),\n", ""),
    ),
    Bug("pruning does nothing", [WORKER], in_module(worker, "prune_once", _do_nothing)),
    Bug(
        "pruning stops after one transaction",
        [WORKER],
        in_function(worker, "prune", "range(MAX_PRUNE_ROUNDS)", "range(1)"),
    ),
    Bug("a signal does not wake the worker", [WAKE_UPS], in_module(deadline_loop.Loop, "wake", _ignore)),
    Bug("a new push does not wake its sender", [WAKE_UPS], in_module(outbox.Outbox, "wake", _ignore)),
    Bug("a signal refreshes no cards", [WAKE_UPS], in_module(cards.Cards, "handle_signal", _ignore)),
    Bug("a signal sends no events", [WAKE_UPS], in_module(hub.Hub, "handle_stream_signal", _ignore)),
    Bug(
        "a signal refreshes no availability",
        [WAKE_UPS],
        in_module(presence.Presence, "mitra_changed", _ignore),
    ),
    Bug("a sign-out closes no sockets at once", [WAKE_UPS], in_module(hub.Hub, "close_tokens", _ignore)),
    Bug(
        "silence charges for a mitra who was last heard 6 s ago",
        [SILENCE],
        in_function(
            extension, "_was_connected", "deadline_at - HEARD_WITHIN", "deadline_at - timedelta(seconds=6)"
        ),
    ),
    Bug(
        "silence charges for a mitra who was heard only before the request",
        [SILENCE],
        in_function(
            extension,
            "_was_connected",
            "max(extension.deadline_at - HEARD_WITHIN, extension.requested_at)",
            "extension.deadline_at - HEARD_WITHIN",
        ),
    ),
    Bug(
        "silence charges for a mitra who came back after the deadline",
        [AT_DEADLINE],
        in_function(extension, "_was_connected", "frames.heard_since <= extension.deadline_at and ", ""),
    ),
    Bug(
        "silence charges for a mitra who was away too long after the request",
        [AT_DEADLINE],
        in_function(extension, "_was_connected", " and frames.present_since <= extension.requested_at", ""),
    ),
    Bug(
        "silence charges for a mitra who came back while the worker was stopped",
        [STOPPED_DECISION],
        in_function(
            Transitions, "_close_extension_windows", "after = await read_clock(tx)", "after = before"
        ),
    ),
    Bug(
        "a new connection continues the presence of one whose process died long before",
        ["tests/integration/test_presence_store.py"],
        in_presence_script("local ended = closed and", "local ended = not closed and now or"),
    ),
    Bug(
        "the mitra of a pending extension is not pinged every second",
        [DEAD_PHONE],
        in_module(extension_pings, "PING_INTERVAL_SECONDS", 3600.0),
    ),
    Bug(
        "frames that waited while the server was stopped count as new",
        ["tests/integration/test_presence_service.py"],
        in_module(presence.Presence, "_arrival", lambda _self: time.monotonic()),
    ),
    Bug(
        "a mitra who has gone stays connected after Valkey's clock was set back",
        ["tests/integration/test_presence_store.py"],
        in_presence_script("MAX_CLOCK_STEP_MS =", "MAX_CLOCK_STEP_MS = 1e12 --"),
    ),
    Bug(
        "a frame whose report waited in a stopped Valkey counts as new",
        [f"{PRESENCE_OUTAGE}::test_a_call_that_waited_in_a_stopped_valkey_extends_no_lease"],
        in_presence_script(
            "math.min(now, tonumber(table.remove(ARGV)) or now)", "table.remove(ARGV) and now"
        ),
    ),
    Bug(
        "a process reports frames before it knows Valkey's time",
        [
            f"{PRESENCE_OUTAGE}::test_a_process_that_does_not_know_the_clock_of_valkey_reports_no_frame_to_a_stopped_valkey"
        ],
        in_function(store.PresenceStore, "_call", "if self._clock_ahead_ms is None", "if False"),
    ),
    Bug(
        "a customer hears that nobody is available because Valkey was emptied a moment ago",
        [NOBODY_AFTER_EMPTYING],
        in_function(store.PresenceStore, "_run_script", "not in (None, filling)", "is False"),
    ),
    Bug(
        "a process without mitras does not notice that Valkey refuses heartbeats",
        [NOBODY_WITHOUT_HEARTBEATS],
        in_presence_script("server.call('SET', FILLING, server.call('GET', FILLING))", ""),
    ),
    # The devices and push services of the simulation must detect the following faults.
    Bug(
        "a person waits for a claimed push deadline",
        [SIMULATION],
        schema=ARM_PUSH.format(found="false", generation="1"),
    ),
    Bug(
        "a card stays on its device after its pairing has failed",
        [SIMULATION],
        in_function(pairing, "_fail", "    signal_requests(tx, closed_for)\n", ""),
    ),
    Bug(
        "a new message is told only to the customer",
        [SIMULATION],
        in_statement(
            sessions,
            "send_messages",
            "(VALUES ('customer', customer_id), ('mitra', mitra_id))",
            "(VALUES ('customer', customer_id), ('customer', customer_id))",
        ),
    ),
    Bug(
        "that a chat was read reaches only the devices of its reader",
        [SIMULATION],
        in_function(
            session_service,
            "mark_read",
            "    await realtime.append(tx, events.to_both("
            "events.MESSAGES_READ, read.customer_id, read.mitra_id, mark))",
            "    both = events.to_both(events.MESSAGES_READ, read.customer_id, read.mitra_id, mark)\n"
            "    await realtime.append(tx, [event for event in both if event.role == identity.role])",
        ),
    ),
    Bug(
        "a message arms no deadline of push",
        [SIMULATION],
        schema="DROP TRIGGER messages_sent_push ON messages",
    ),
    Bug(
        "a failed search arms no deadline of push",
        [PUSH_OUTCOMES],
        schema="DROP TRIGGER payments_unserved_push ON payments",
    ),
    Bug(
        "an offered fallback arms no deadline of push",
        [PUSH_OUTCOMES],
        schema="DROP TRIGGER pairings_fallback_push ON pairings",
    ),
    Bug(
        "a refund arms no deadline of push",
        [PUSH_OUTCOMES],
        schema="DROP TRIGGER refunds_done_push ON refunds",
    ),
    Bug(
        "a decision arms no deadline of push",
        [PUSH_OUTCOMES],
        schema="DROP TRIGGER review_cases_decided_push ON review_cases",
    ),
    Bug(
        "a customer reads the payments of other customers",
        [CUSTOMER_PAYMENTS],
        in_statement(
            journey_queries,
            "list_customer_payments",
            "WHERE customer_id = @customer_id AND",
            "WHERE @customer_id::uuid IS NOT NULL AND",
        ),
    ),
    Bug(
        "a customer marks the payment of another customer as seen",
        [CUSTOMER_PAYMENTS],
        in_statement(
            journey_queries,
            "mark_payment_seen",
            "AND customer_id = @customer_id",
            "AND @customer_id::uuid IS NOT NULL",
        ),
    ),
    Bug(
        "a customer's list leaves out money that was taken too late",
        [SIMULATION],
        in_statement(
            journey_queries, "list_customer_payments", "('approved', 'approved_late')", "('approved')"
        ),
    ),
    Bug(
        "a decision counts before the second operator has approved it",
        [CUSTOMER_PAYMENTS],
        in_statement(
            journey_queries,
            "list_customer_payments",
            "AND (NOT needs_approval OR approved_by IS NOT NULL) AS is_final",
            "AS is_final",
        ),
    ),
    Bug(
        "an open page does not learn of a decision",
        [CUSTOMER_PAYMENTS],
        in_function(review_service, "decide_case", "await money.tell_customer(tx, each.payment_id)", "pass"),
    ),
    Bug(
        "an open page does not learn of a refund",
        [CUSTOMER_PAYMENTS],
        in_function(charging, "refund_answered", "await money.tell_customer(tx, payment_id)", "pass"),
    ),
    Bug(
        "a customer is not told that somebody is asked",
        [SEARCHING],
        in_function(pairing, "_tell_customers", "for pairing_id in pairing_ids", "for pairing_id in ()"),
    ),
    Bug(
        "a push asks for an answer that was given already",
        [PUSH_OUTCOMES],
        in_statement(journey_queries, "filter_open_fallbacks", " AND fallback_status = 'open'", ""),
    ),
    Bug(
        "a worker claims push messages of kinds that it does not know",
        [PUSH_OUTCOMES],
        in_statement(
            push_queries,
            "claim_messages",
            "push_messages.kind = ANY (@kinds::text[])",
            "'' <> ALL (@kinds::text[])",
        ),
    ),
    Bug(
        "a push that has arrived is sent again",
        [SIMULATION],
        in_module(push_queries, "finish_messages", _do_nothing),
    ),
    Bug(
        "a push is sent although its reason is over",
        [SIMULATION],
        in_function(outbox.Outbox, "_drop_unwanted", "each.subject_id not in subjects or ", ""),
    ),
    Bug(
        "a message waits for a claimed push deadline",
        [HELD],
        schema=ARM_PUSH.format(found="false", generation="1"),
    ),
    Bug(
        "a message does not keep the push deadline that it found",
        [HELD],
        schema=ARM_PUSH.format(
            found="EXISTS (SELECT 1 FROM deadlines WHERE kind = push_kind AND entity_id = wanted)",
            generation="own_generation()",
        ),
    ),
    Bug(
        "a closed socket waits for a claimed deadline",
        [HELD],
        in_statement(deadlines, "arm_another_deadline", "own_generation()", "1"),
    ),
    Bug(
        "the calls of all kinds share one queue",
        [JOURNEY_RACES],
        in_function(deadline_loop.Loop, "_count", "kind = fired.deadline.kind", 'kind = "charge_answer"'),
    ),
    Bug(
        "a worker that arms an expiry again waits for another worker",
        [f"{JOURNEY_RACES}::test_an_expiry_that_is_armed_again_does_not_wait_for_another_worker"],
        in_statement(deadlines, "arm_another_deadline", "own_generation()", "1"),
    ),
    Bug(
        "a locked session delays the messages of all sessions",
        [LOCKED_SESSION],
        in_module(message_writer, "LOCK_TIMEOUT", "0"),
    ),
    Bug(
        "each message to a locked session delays a batch",
        [LOCKED_SESSION],
        in_function(
            message_writer.MessageWriter, "_write_all", "waiting.message.session_id in self._apart", "False"
        ),
    ),
    Bug(
        "many waiting deadlines of one kind hide the other kinds",
        [f"{JOURNEY_RACES}::test_transitions_of_one_kind_that_wait_for_locks_delay_no_other_kind"],
        in_statement(
            deadlines, "due_deadlines", "ORDER BY due.due_at", "ORDER BY due.due_at LIMIT @max_per_kind"
        ),
    ),
    Bug(
        "the calls that wait are not limited",
        [JOURNEY_RACES],
        in_function(deadline_loop._Calls, "make", "self._waiting_count >= MAX_FOLLOW_UPS_WAITING", "False"),
    ),
    Bug(
        "one push service may occupy all places",
        ["tests/notifications/test_silent_push_service.py"],
        in_module(outbox, "MAX_SENDS_PER_SERVICE", 1_000),
    ),
    Bug(
        "each host that a client chooses has its own places",
        ["tests/notifications/test_silent_push_service.py"],
        in_statement(
            push_queries, "claim_messages", "'other')", "split_part(push_subscriptions.endpoint, '/', 3))"
        ),
    ),
    Bug(
        "after a failover, Valkey keeps states that are lost",
        [LOST_COMMITS],
        schema="CREATE OR REPLACE FUNCTION ordered_version(version bigint) RETURNS bigint LANGUAGE sql VOLATILE "
        "RETURN version",
    ),
    Bug(
        "after a failover, a client resumes a stream that is lost",
        [LOST_COMMITS],
        schema="CREATE OR REPLACE FUNCTION epoch_on_timeline(epoch uuid) RETURNS uuid LANGUAGE sql VOLATILE "
        "RETURN epoch",
    ),
    Bug(
        "after a failover, sockets stay open",
        [LOST_COMMITS],
        in_function(hub.Hub, "compare_heads", "self._timeline not in (None, read.timeline)", "False"),
    ),
    Bug(
        "after a restore, a client resumes a stream that is lost",
        [f"{RESTORE}::test_every_stream_has_a_new_epoch_so_that_no_device_resumes"],
        in_statement(realtime, "renew_epochs", "gen_random_uuid()", "epoch"),
    ),
    Bug(
        "after a restore, revoked tokens come back",
        [f"{RESTORE}::test_nobody_stays_signed_in_so_that_no_revoked_token_comes_back"],
        in_statement(accounts, "revoke_every_token", "revoked_at IS NULL AND", "revoked_at IS NOT NULL AND"),
    ),
    Bug(
        "after a restore, a charge that only the gateway knows is not looked for",
        [RESTORE],
        in_statement(payment_queries, "find_unknown_charges", "key NOT IN", "key IN"),
    ),
    Bug(
        "after a restore, an approval of a charge that was undecided is left to the worker",
        [EVERY_LOST_OUTCOME],
        in_statement(payment_queries, "find_late_charges", "status IN ('started', 'declined')", "false"),
    ),
    Bug(
        "after a restore, a charge that is too old for the gateway's list is not asked about",
        [f"{RESTORED_MONEY}::test_a_charge_that_is_too_old_for_the_gateways_list_is_asked_about_by_its_key"],
        in_statement(payment_queries, "list_undecided_attempts", "status = 'started' OR", "false AND"),
    ),
    Bug(
        "after a restore, an extension whose charge only the gateway knows stays open",
        [
            f"{RESTORED_MONEY}::test_a_lost_charge_of_an_extension_gets_a_payment_of_its_own_and_closes_the_extension"
        ],
        in_function(extension, "charge_was_lost", "if session_id is None", "if True"),
    ),
    Bug(
        "after a restore, a lost refund leaves the search of its payment open",
        [EVERY_LOST_OUTCOME],
        in_function(reconciling, "_end_search", "payment_id is not None", "False"),
    ),
    Bug(
        "a restore is finished while a server works",
        [f"{RESTORE}::test_a_restore_is_not_finished_if_a_process_connected_after_the_comparison_began"],
        in_function(
            finishing,
            "finish",
            "what was compared above.\n    await _check_nobody_serves(database)",
            "what was compared above.",
        ),
    ),
    Bug(
        "a server that was not stopped moves the time of the comparison",
        [POINT_IN_TIME],
        in_function(finishing, "recovered_to", "min(time for", "max(time for"),
    ),
    Bug(
        "a restore by hand after a finished restore is served",
        [POINT_IN_TIME],
        in_function(restored, "restore_marker", "_MARKER", "_MARKER.replace('target IS NULL OR', 'true OR')"),
    ),
    Bug(
        "a chosen mitra counts as offline as soon as Valkey's list has somebody",
        [CHOSEN_AFTER_EMPTYING],
        in_function(
            paying, "_refuse_empty_search", "not lacks(candidates, target.id)", "target.id in candidates"
        ),
    ),
    Bug(
        "a search does not ask the chosen mitra whom Valkey's list lacks",
        [CHOSEN_AFTER_EMPTYING],
        together(
            in_function(
                searching,
                "begin_search",
                "not lacks(candidates, payment.target_mitra_id)",
                "candidates is None or payment.target_mitra_id in candidates",
            ),
            lambda: setattr(charging, "begin_search", searching.begin_search),
        ),
    ),
    Bug(
        "nobody is said to be available from a list that lacks mitras",
        [NOBODY_FROM_SOME],
        in_function(
            paying,
            "_refuse_empty_search",
            "raise PresenceUnknown if isinstance(candidates, SomeCandidates) else NoMitraAvailable",
            "raise NoMitraAvailable",
        ),
    ),
    Bug(
        "a restored database is served before it is finished",
        [RESTORE],
        in_function(restored, "is_open", "connection.fetchval(_IS_OPEN, marker)", "True"),
    ),
    Bug(
        "a window that was claimed before the clock was set back is lost",
        [JOURNEY_RACES],
        in_function(pairing, "window_over", "await deadlines.arm_each(tx, PAIRING_WINDOW, not_over)", "pass"),
    ),
    # Probes and status.
    Bug(
        "a stopping process says that it lives",
        [f"{PROBES}::test_a_process_that_drains_says_no_to_a_proxy"],
        in_function(probes.Operations, "_problem", "if self.is_draining", "if False"),
    ),
    Bug(
        "a newer migration makes an old process not ready",
        [f"{PROBES}::test_an_old_server_stays_in_service_after_the_migration_of_a_newer_version"],
        in_function(status.Status, "is_ready", "migrations.missing", "migrations.pending"),
    ),
    Bug(
        "a process is ready without the schema that it needs",
        [f"{PROBES}::test_a_server_with_a_missing_migration_is_ready_only_after_the_migration_was_applied"],
        in_function(status.Status, "is_ready", "not await migrations.missing(connection)", "True"),
    ),
    Bug(
        "the status writes nothing to PostgreSQL",
        [f"{PROBES}::test_a_full_disk_makes_the_status_fail_and_leaves_the_server_in_service"],
        in_function(status.Status, "_check_writing", "await queries.probe_writing(tx)", "pass"),
    ),
    Bug(
        "the status writes nothing to Valkey",
        [f"{PROBES}::test_a_read_only_valkey_makes_the_status_fail"],
        in_function(
            status.Status,
            "_check_valkey",
            "client.set(VALKEY_KEY, os.getpid(), ex=VALKEY_KEY_SECONDS)",
            "client.ping()",
        ),
    ),
    Bug(
        "the status does not see a parked deadline",
        [f"{PROBES}::test_a_late_deadline_and_a_parked_deadline_each_make_the_status_fail"],
        in_function(status, "_check_deadlines", "if read.deadlines_parked", "if False"),
    ),
    # The ceiling of codes.
    Bug(
        "codes go on above the day's ceiling",
        [f"{CODE_CEILING}::test_concurrent_requests_get_no_more_codes_than_the_daily_maximum"],
        in_statement(accounts, "count_code_of_day", " WHERE code_days.codes < @max_codes", ""),
    ),
    Bug(
        "strangers may use up the whole ceiling",
        [f"{CODE_CEILING}::test_an_attack_by_strangers_leaves_codes_for_known_devices"],
        in_function(service, "_count_code", "ceiling - ceiling // STRANGERS_RESERVE", "ceiling"),
    ),
    Bug(
        "all countries share one ceiling",
        [f"{CODE_CEILING}::test_each_country_has_its_own_maximum_of_codes_per_day"],
        in_function(service, "_count_code", "region = phone.region_of(phone_number)", 'region = "ID"'),
    ),
    Bug(
        "the ceiling never begins anew",
        [f"{CODE_CEILING}::test_the_maximum_of_codes_per_day_begins_again_each_day"],
        in_statement(
            accounts, "count_code_of_day", "(curhat_now() AT TIME ZONE 'UTC')::date", "'2020-01-01'::date"
        ),
    ),
    Bug(
        "the alert about codes counts other days too",
        [f"{CODE_CEILING}::test_the_part_of_the_ceiling_that_is_used_up_is_a_metric_of_every_process"],
        in_statement(figure_queries, "list_codes_of_today", "WHERE day = ", "WHERE day <= "),
    ),
    Bug(
        "a page of one client acts with the cookie of another",
        [COOKIES],
        in_function(cookies, "_comes_from_us", "settings.origins_of(role)", "settings.public_origins"),
    ),
    Bug(
        "a page of another host reads with a cookie",
        [COOKIES],
        in_function(
            cookies,
            "presented_token",
            "if is_unsafe else _may_come_from_us",
            "if is_unsafe else (lambda *_: True)",
        ),
    ),
    Bug(
        "a cookie of the previous version is not renewed",
        [OLD_COOKIES],
        in_function(cookies, "renewed_cookies", "if settings.is_development", "if True"),
    ),
    Bug(
        "an extension adds its minutes to now instead of to the old end",
        [
            f"{EXTENSION}::test_an_extension_that_is_approved_after_the_old_end_adds_its_minutes_to_the_old_end",
            SIMULATION,
        ],
        in_statement(
            sessions,
            "release_session_ends",
            "ends_at = ends_at + make_interval(mins => @added_minutes)",
            "ends_at = CASE WHEN @added_minutes > 0 THEN curhat_now() ELSE ends_at END"
            " + make_interval(mins => @added_minutes)",
        ),
    ),
    Bug(
        "a session ends with a review before the mitra was away for a minute",
        [MITRA_AWAY],
        in_statement(
            sessions,
            "end_session_early",
            "locked.mitra_away_since <= moment.now - make_interval(secs => @away_seconds::float8)",
            "locked.mitra_away_since <= moment.now",
        ),
    ),
    Bug(
        "an end with a review reads the absence before it locks the session",
        [MITRA_AWAY],
        in_statement(
            sessions,
            "end_session_early",
            "OR locked.mitra_away_since <=",
            "OR (SELECT mitra_away_since FROM sessions AS unlocked WHERE unlocked.id = @session_id) <=",
        ),
        schema="ALTER TABLE sessions DROP CONSTRAINT sessions_left_by_their_mitra",
    ),
    Bug(
        "an end with a review opens no case",
        [MITRA_AWAY, SIMULATION],
        in_statement(
            sessions,
            "record_deliveries",
            "WHEN @with_review THEN 'mitra_away'",
            "WHEN @with_review AND false THEN 'mitra_away'",
        ),
    ),
    Bug(
        "the case of a silent session leaves out its extensions",
        [MITRA_AWAY, SIMULATION],
        in_function(session_service, "_open_cases", "payment_ids += await", "await"),
        schema="DROP TRIGGER sessions_not_delivered_have_a_case ON sessions",
    ),
    Bug(
        "a session that nobody answered opens no case",
        [MITRA_AWAY, SIMULATION],
        in_statement(sessions, "record_deliveries", "AND NOT EXISTS (", "AND false AND NOT EXISTS ("),
    ),
    Bug(
        "the end of a session does not see a message that commits meanwhile",
        [MITRA_AWAY],
        in_statement(
            sessions,
            "record_deliveries",
            "AND sender = 'mitra') THEN",
            "AND sender = 'mitra' AND sent_at < sessions.started_at) THEN",
        ),
    ),
    Bug(
        "a late report of an absence undoes a return",
        [MITRA_AWAY],
        in_statement(
            sessions,
            "mark_mitras_away",
            "locked.heard_at > locked.mitra_back_at",
            "true OR locked.heard_at > locked.mitra_back_at",
        ),
    ),
    Bug(
        "a mitra counts as away while valkey may lack its data",
        [MITRA_AWAY],
        in_function(presence.Presence, "heard_ages", "self._store.believe_no()", "pass"),
    ),
    Bug(
        "an absence counts from long before the customer was told",
        [MITRA_AWAY],
        in_module(absences, "MAX_BACKDATED_SECONDS", 3600.0),
    ),
    Bug(
        "a payment is opened without the acceptances",
        [CONSENT],
        in_function(paying, "_refuse_obstacles", "texts.refuse_kinds(obstacles.missing_kinds)", "pass"),
    ),
    Bug(
        "a mitra goes online without the acceptances",
        [CONSENT],
        in_function(texts, "refuse_missing", "kinds = KINDS_OF[person.role]", "kinds = ()"),
    ),
    Bug(
        "the acceptance of an old version counts for a payment",
        [CONSENT],
        in_statement(
            journey_queries,
            "find_obstacles",
            "AND acceptances.version = current_texts.version",
            "AND acceptances.version <= current_texts.version",
        ),
    ),
    Bug(
        "the acceptance of an old version counts for going online",
        [CONSENT],
        in_statement(
            text_queries,
            "list_missing_kinds",
            "AND acceptances.version = current_texts.version",
            "AND acceptances.version <= current_texts.version",
        ),
    ),
    Bug(
        "an acceptance as a mitra counts for a payment",
        [CONSENT],
        in_statement(
            journey_queries,
            "find_obstacles",
            "acceptances.role = 'customer' AND acceptances.user_id",
            "acceptances.user_id",
        ),
    ),
    Bug(
        "an acceptance as a customer counts for going online",
        [CONSENT],
        in_statement(
            text_queries,
            "list_missing_kinds",
            "acceptances.role = @role AND acceptances.user_id",
            "@role = @role AND acceptances.user_id",
        ),
    ),
    Bug(
        "who accepts an old version accepts the newest version unread",
        [CONSENT],
        together(
            in_statement(
                text_queries,
                "accept_text",
                "WHERE newest.version = @version",
                "WHERE newest.version >= @version",
            ),
            in_function(texts, "accept", "if newest > acceptance.version:", "if False:"),
        ),
    ),
    Bug(
        "a minor can accept the terms",
        [CONSENT],
        in_module(texts, "is_adult", lambda _birth_year, _present_year: True),
    ),
    Bug(
        "an acceptance can be deleted at once",
        [CONSENT],
        schema="DROP TRIGGER acceptances_kept ON acceptances",
    ),
    Bug(
        "a confirmation does not wait for a suspension that is being written",
        [REPORT_RACES],
        in_statement(accounts, "share_lock_customer", "FOR SHARE", ""),
    ),
    Bug(
        "a confirmation does not ask whether the customer is suspended",
        [REPORTS, SIMULATION],
        in_function(
            paying,
            "begin_confirmation",
            "await accounts.refuse_suspended_customer(tx, customer_id, until_commit=True)",
            "pass",
        ),
    ),
    Bug(
        "a suspended customer opens a payment",
        [REPORTS, SIMULATION],
        in_function(
            paying,
            "open_payment",
            "await accounts.refuse_suspended_customer(tx, customer_id, until_commit=True)",
            "pass",
        ),
    ),
    Bug(
        "a second decision about a report is accepted",
        [REPORT_DECISIONS, REPORT_RACES],
        in_function(report_decisions, "decide", 'if report.status != "open":', "if False:"),
    ),
    Bug(
        "two decisions about a report do not wait for each other",
        [REPORT_RACES],
        in_statement(report_queries, "lock_report", "FOR NO KEY UPDATE OF reports", ""),
    ),
    Bug(
        "the operator who suspended for good approves it",
        [REPORT_DECISIONS],
        in_function(report_decisions, "approve", "if report.decided_by == operator.id:", "if False:"),
        schema="ALTER TABLE reports DROP CONSTRAINT reports_second_operator",
    ),
    Bug(
        "a suspension for good takes effect without a second operator",
        [REPORT_DECISIONS],
        in_function(
            report_decisions,
            "decide",
            'needs_approval = verdict.decision == "suspend" and verdict.until is None',
            "needs_approval = False",
        ),
        schema="ALTER TABLE reports DROP CONSTRAINT reports_for_good_is_approved",
    ),
    Bug(
        "the operator who decided decides the appeal",
        [REPORT_DECISIONS],
        in_function(report_decisions, "decide_appeal", "if report.decided_by == operator.id:", "if False:"),
        schema="ALTER TABLE reports DROP CONSTRAINT reports_appeals",
    ),
    Bug(
        "a warning needs no acknowledgement",
        [REPORTS, SIMULATION],
        in_statement(reports, "list_warnings_to_acknowledge", "AND kind = 'warning'", "AND false"),
    ),
    Bug(
        "a warned mitra goes online",
        [REPORTS, SIMULATION],
        in_function(
            mitras,
            "intent_changed",
            'await reports.refuse_unacknowledged(tx, Identity("mitra", mitra_id))',
            "pass",
        ),
    ),
    Bug(
        "an overturned warning still needs an acknowledgement",
        [REPORTS, SIMULATION],
        in_function(
            report_decisions, "decide_appeal", "await reports.withdraw_sanctions(tx, report_id)", "pass"
        ),
    ),
    Bug(
        "the text of a decided report is not held",
        [REPORTS],
        schema="CREATE OR REPLACE VIEW held_sessions AS SELECT session_id FROM reports WHERE status <> 'decided'",
    ),
    Bug(
        "the text of an open report is not held",
        [REPORTS],
        schema=(
            "CREATE OR REPLACE VIEW held_sessions AS SELECT session_id FROM reports "
            "WHERE closed_at > curhat_now() - interval '90 days'"
        ),
    ),
    Bug(
        "the operator who asks to read a chat approves it",
        [REPORT_DECISIONS],
        in_function(transcripts, "approve", "if request.requested_by == operator.id:", "if False:"),
        schema="ALTER TABLE transcript_requests DROP CONSTRAINT transcript_requests_second_operator",
    ),
    Bug(
        "a chat is read on the ground of another chat's report",
        [REPORT_DECISIONS],
        in_statement(
            transcript_queries,
            "list_grounds",
            "WHERE reports.session_id = @session_id",
            "WHERE @session_id = @session_id",
        ),
    ),
    Bug(
        "a leave does not end the pending extension",
        [EXTENSION_RACES, LEAVING],
        in_function(session_service, "leave", "ended.open_extension_id", "None"),
    ),
    Bug(
        "a chat whose time is over cannot be left",
        [LEAVING, LEAVING_RACES],
        in_statement(
            sessions,
            "leave_session",
            "AND locked.status = 'active'",
            "AND locked.status = 'active' AND locked.is_early",
        ),
    ),
    Bug(
        "a leave after the paid time counts as an early end",
        [LEAVING, LEAVING_RACES],
        in_statement(sessions, "leave_session", "locked_session.ends_at > moment.now OR", "true OR"),
    ),
    Bug(
        "a leave compares before it locks",
        [LEAVING_RACES],
        in_statement(
            sessions,
            "leave_session",
            "FOR NO KEY UPDATE",
            "",
        ),
    ),
    Bug(
        "a refused report keeps its reporter in the chat",
        [LEAVING],
        in_function(
            leaving, "_store", "except BusinessError as refusal:", "except ZeroDivisionError as refusal:"
        ),
    ),
    Bug(
        "a refused report leaves a case behind",
        [LEAVING],
        in_function(leaving, "_store", "async with tx.savepoint():", "if True:"),
    ),
    Bug(
        "a chat that is over drops the report of the person who leaves it",
        [LEAVING, LEAVING_RACES],
        in_function(
            leaving,
            "_leave",
            "if report is not None:",
            'if report is not None and (await sessions.session_views(tx, session_id)).for_mitra.status == "active":',
        ),
    ),
    Bug(
        "a chat can be rated for ever",
        [RATINGS],
        in_statement(
            rating_queries,
            "write_rating",
            "moment.now < sessions.ended_at + make_interval(days => @rating_days)",
            "@rating_days > 0",
        ),
        schema="ALTER TABLE ratings DROP CONSTRAINT ratings_in_time",
    ),
    Bug(
        "a chat in which the mitra wrote nothing can be rated",
        [RATINGS],
        in_statement(rating_queries, "write_rating", "AND sender = 'mitra')", "AND sender = 'customer')"),
    ),
    Bug(
        "a mitra sees the sum of a few ratings",
        [RATINGS, RATING_SUMS],
        in_function(
            rating_states,
            "sum_weeks",
            "sum(counts.values()) >= MIN_RATINGS_PER_SUM and len(customers) >= MIN_CUSTOMERS_PER_SUM",
            "sum(counts.values()) >= 1",
        ),
        schema="ALTER TABLE rating_sums DROP CONSTRAINT rating_sums_hide_single_ratings",
    ),
    Bug(
        "a mitra sees the ratings of the last seven days",
        [RATINGS, RATING_SUMS],
        in_function(rating_states, "first_hidden_monday", "timedelta(days=HIDDEN_DAYS)", "timedelta()"),
    ),
    Bug(
        "the periods of a mitra overlap",
        [RATINGS],
        in_statement(
            rating_queries, "read_next_beginning", "SELECT max(ends_on) FROM", "SELECT min(begins_on) FROM"
        ),
    ),
    # How long text is kept, and exports (P.6, P.7, invariant 14).
    Bug(
        "held text is destroyed, and the database allows it",
        [RETENTION_SCHEDULES],
        in_function(session_service, "destroy_text", "if session_id not in held", "if session_id"),
        schema="DROP TRIGGER messages_text_stays ON messages; DROP TRIGGER sessions_text_deleted ON sessions",
    ),
    Bug(
        "the database lets the messages of a held session be deleted",
        [RETENTION],
        schema="DROP TRIGGER messages_text_stays ON messages",
    ),
    Bug(
        "the database lets the text of a held session count as deleted",
        [RETENTION],
        schema="DROP TRIGGER sessions_text_deleted ON sessions",
    ),
    Bug(
        "text is held only until the decision",
        [RETENTION],
        schema="CREATE OR REPLACE VIEW held_sessions AS SELECT session_id FROM reports WHERE status <> 'decided'",
    ),
    Bug(
        "a report holds a text that was destroyed while the report waited",
        [RETENTION],
        in_statement(reports, "lock_session", "text_deleted_at IS NULL AS has_text", "true AS has_text"),
    ),
    Bug(
        "overdue text stays",
        [RETENTION_SCHEDULES],
        in_statement(
            sessions, "lock_due_texts", "months => @kept_months", "months => 2 * @kept_months::integer"
        ),
    ),
    Bug(
        "text goes a day too early",
        [RETENTION],
        in_statement(
            sessions, "lock_due_texts", "months => @kept_months", "months => @kept_months, days => -1"
        ),
    ),
    Bug(
        "the text of a deleted chat goes before its mitra could report it",
        [RETENTION],
        in_statement(
            sessions,
            "lock_due_texts",
            "hours => @reportable_hours",
            "hours => @reportable_hours::integer - 1",
        ),
    ),
    Bug(
        "the text of a deleted chat stays",
        [RETENTION_SCHEDULES],
        in_statement(
            sessions, "lock_due_texts", "text_hidden_at IS NOT NULL", "text_hidden_at IS NOT NULL AND false"
        ),
    ),
    Bug(
        "a deleted chat stays readable until its text is destroyed",
        [RETENTION_SCHEDULES],
        in_statement(sessions, "find_text", "OR sessions.text_hidden_at IS NOT NULL", ""),
    ),
    Bug(
        "a device that resumes gets the text of a deleted chat",
        [RETENTION],
        in_statement(realtime, "blank_message_texts", "type = 'message.created'", "false"),
    ),
    Bug(
        "a mitra reads a chat for longer than 30 days",
        [RETENTION],
        in_statement(sessions, "find_text", "OR (@role = 'mitra' AND", "OR (@role = 'nobody' AND"),
    ),
    Bug(
        "a report stays for longer than 24 months",
        [RETENTION],
        in_statement(retention_queries, "prune_reports", "queue_rank = 3", "queue_rank = 4"),
    ),
    Bug(
        "an export goes on after its person has signed out",
        [EXPORT],
        in_statement(export_queries, "is_signed_in", "AND revoked_at IS NULL", ""),
    ),
    Bug(
        "an export has the reports of the other side",
        [EXPORT],
        in_statement(export_queries, "list_own_reports", "AND reporter = @role", "AND @role <> ''"),
    ),
    Bug(
        "an export tells of an opening while its report waits for a decision",
        [EXPORT],
        in_statement(export_queries, "list_openings", "reports.status <> 'decided'", "false"),
    ),
    Bug(
        "a person makes four exports a day",
        [EXPORT],
        in_module(export_service, "MAX_EXPORTS_PER_DAY", 4),
    ),
    Bug(
        "the page of an export shows a text as markup",
        [EXPORT],
        in_function(writers.HtmlWriter, "_message", "{escape(message.text)}", "{message.text}"),
    ),
    Bug(
        "a deletion looks for a journey before it locks the account",
        ["tests/races/test_deletion_races.py"],
        in_statement(
            accounts, "lock_account", "@role::text = 'customer' FOR UPDATE", "@role::text = 'customer'"
        ),
    ),
    Bug(
        "an erasure leaves out the notebook",
        [ERASURE],
        in_module(
            erasure, "ROOMS", {name: room for name, room in erasure.ROOMS.items() if name != "notebook"}
        ),
    ),
    Bug(
        "an erasure ignores the hold of a report",
        [ERASURE],
        in_statement(
            safety_erasure,
            "forget_notes",
            "WHERE held_sessions.session_id = reports.session_id",
            "WHERE held_sessions.session_id <> held_sessions.session_id",
        ),
    ),
    Bug(
        "a deletion takes the phone number from the other role",
        [ERASURE],
        in_statement(
            accounts,
            "take_phone_number",
            "WHEN EXISTS (SELECT 1 FROM other_role) THEN phone_number",
            "WHEN false THEN phone_number",
        ),
    ),
)


def named(name: str) -> Bug:
    """Return the bug whose name is `name`."""
    return next(bug for bug in BUGS if bug.name == name)
