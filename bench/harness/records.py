"""Writes what operators see after a year: payments, sessions, cases, failures, refunds and the audit.

Each statement writes one table with generate_series. Payment n is opened before payment n + 1. Of 30 payments, 20 have
a session, 2 are for an extension, 4 expire, 2 are abandoned, and 2 fail. Most customers come rarely, and some come
often. More payments are opened in the evening than in the morning. The last payments are still open, and their sessions
run.
"""

from dataclasses import dataclass
from typing import Final

from bench.harness import people
from bench.harness.testbed import Connection
from curhat.control_center.dashboard import queries as dashboard
from curhat.control_center.records import queries

OPERATOR: Final = 20
CASE: Final = 21
WHAT_IF: Final = 22
REPORT: Final = 23
OPERATOR_EMAIL: Final = "operator@example.id"
OPERATOR_TOKEN: Final = "bench-operator-" + "0123456789abcdef" * 2
# A search for the beginning of a name finds 1 customer in 20, or 1 customer.
COMMON_NAME: Final = "Sari"
RARE_NAME: Final = "Melati 1"

_SESSIONS_PER_30_PAYMENTS: Final = 20
_SESSIONS_PER_CUSTOMER: Final = 10
_SESSIONS_PER_MITRA: Final = 1_000
_REQUESTS_PER_PAIRING: Final = 4
_DAYS: Final = 365
# So many of the newest payments belong to customers of their own, and are open.
_NEWEST: Final = 600


@dataclass(frozen=True, slots=True)
class Records:
    """The numbers of rows: the payments have the numbers 0 to `payments` - 1."""

    payments: int
    customers: int
    mitras: int

    def number_of_payment(self, slot: int) -> int:
        """Return the number of a payment in the middle of the year. The slot says what became of the payment."""
        return self.payments // 60 * 30 + slot


_HELPERS: Final = (
    # A number from 0 to $2 - 1 for row $1. Small numbers are more frequent than large ones.
    """
    CREATE FUNCTION bench_skewed(n bigint, count bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN
        floor(count * power((hashint8extended(n, 1) & 1048575) / 1048576.0::float8, 1.3))::bigint
    """,
    "CREATE FUNCTION bench_percent(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN hashint8extended(n, 2) & 127",
    """
    CREATE FUNCTION bench_tag(n bigint) RETURNS text LANGUAGE sql IMMUTABLE RETURN
        CASE WHEN bench_percent(n) < 70 THEN 'no_mitra_available' WHEN bench_percent(n) < 110 THEN 'customer_cancelled'
            WHEN bench_percent(n) < 122 THEN 'all_mitras_rejected' WHEN bench_percent(n) < 125 THEN
            'targeted_mitra_timeout' WHEN bench_percent(n) < 127 THEN 'targeted_mitra_rejected'
            ELSE 'targeted_mitra_offline' END
    """,
)
# What became of each payment. $1: payments. $2: customers. $3: mitras. Each session's extension is two slots later.
_PAYMENT: Final = f"""
CREATE TEMPORARY TABLE payment AS
SELECT n, slot, at, is_new, customer, bench_skewed(n + 7, $3::bigint) AS mitra,
    slot < 20 OR slot >= 28 AS has_pairing, slot < 20 AS has_session,
    CASE WHEN slot = 0 THEN 0 WHEN slot % 3 = 0 THEN 10000 WHEN slot % 3 = 1 THEN 20000 ELSE 35000 END AS amount_rp,
    CASE WHEN slot = 0 THEN 5 WHEN slot % 3 = 0 THEN 15 WHEN slot % 3 = 1 THEN 30 ELSE 60 END AS minutes,
    slot = 19 AND n % 900 < 30 AS is_cut_short,
    CASE WHEN slot < 22 THEN 'served' WHEN slot < 26 THEN CASE WHEN is_new THEN 'pending' ELSE 'expired' END
        WHEN slot < 28 THEN 'abandoned' WHEN slot = 29 AND NOT is_open_case AND bench_percent(n) < 80 THEN 'refunded'
        ELSE 'unserved' END AS status,
    is_open_case
FROM (
    SELECT n, n % 30 AS slot, n >= $1::bigint - {_NEWEST} AS is_new,
        n > $1 - $1 / 26 OR bench_percent(n) = 0 AS is_open_case,
        least(curhat_now() - interval '1 minute' - ($1 - n) * interval '1 second',
            curhat_now() - interval '{_DAYS} days'
            + n * {_DAYS} / $1 * interval '1 day'
            + sqrt(n * {_DAYS} % $1 / $1::float8) * interval '1 day') AS at,
        CASE WHEN n >= $1 - {_NEWEST} THEN $2 + $1 - n WHEN n % 30 = 0 THEN n / 30
            ELSE bench_skewed(n, $2::bigint) END AS customer
    FROM generate_series(0, $1 - 1) AS n
) AS given
"""
_TABLES: Final = (
    """
    INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, created_at,
        expires_at, confirmed_at, closed_at)
    SELECT bench_id(3, n), bench_id(1, customer), CASE WHEN slot IN (20, 21) THEN 'extension' ELSE 'session' END,
        status, bench_id(7, 1), minutes, amount_rp, slot = 0, at, at + interval '20 minutes',
        CASE WHEN slot < 22 OR slot >= 28 THEN at + interval '1 minute' END,
        CASE WHEN status <> 'pending' THEN at + interval '2 minutes' END
    FROM payment
    """,
    """
    INSERT INTO charge_attempts (id, payment_id, amount_rp, status, started_at, answered_at, decided_round)
    SELECT bench_id(8, n), bench_id(3, n), amount_rp, 'approved', at, at,
        CASE WHEN slot >= 28 AND NOT is_open_case THEN 1 END
    FROM payment WHERE (slot < 22 OR slot >= 28) AND amount_rp > 0
    """,
    """
    INSERT INTO pairings (id, payment_id, customer_id, kind, status, failure_tag, created_at, deadline_at, decided_at)
    SELECT bench_id(4, n), bench_id(3, n), bench_id(1, customer), 'blast',
        CASE WHEN has_session THEN 'matched' ELSE 'failed' END, CASE WHEN NOT has_session THEN bench_tag(n) END, at,
        at + interval '1 minute', at + bench_percent(n) * interval '0.4 seconds'
    FROM payment WHERE has_pairing
    """,
    f"""
    INSERT INTO requests (id, pairing_id, mitra_id, status, close_reason, is_returning, offered_at, answered_at)
    SELECT bench_id(5, n * {_REQUESTS_PER_PAIRING} + place), bench_id(4, n), bench_id(2, (mitra + place) % $1::bigint),
        CASE WHEN place = 0 AND has_session THEN 'accepted' WHEN place = 1 THEN 'rejected' ELSE 'closed' END,
        CASE WHEN place = 0 AND has_session OR place = 1 THEN NULL WHEN has_session THEN 'already_taken'
            ELSE 'timed_out' END, false, at, at + interval '10 seconds'
    FROM payment, generate_series(0, {_REQUESTS_PER_PAIRING} - 1) AS place WHERE has_pairing
    """,
    """
    INSERT INTO sessions (id, payment_id, pairing_id, customer_id, mitra_id, status, duration_minutes, is_trial,
        started_at, ends_at, ended_at, end_reason, end_note)
    SELECT bench_id(6, n), bench_id(3, n), bench_id(4, n), bench_id(1, customer), bench_id(2, mitra),
        CASE WHEN is_new THEN 'active' ELSE 'ended' END, minutes, slot = 0, at, at + minutes * interval '1 minute',
        CASE WHEN NOT is_new THEN at + minutes * interval '1 minute' END,
        CASE WHEN is_new THEN NULL WHEN is_cut_short THEN 'mitra_ended' WHEN slot % 4 = 0 THEN 'customer_ended'
            ELSE 'time_up' END, CASE WHEN is_cut_short AND NOT is_new THEN 'sakit' END
    FROM payment WHERE has_session
    """,
    """
    INSERT INTO extensions (id, session_id, payment_id, offer_id, duration_minutes, price_rp, default_action,
        requested_at, deadline_at, status, decided_by, decided_at, charge_by)
    SELECT bench_id(11, n), bench_id(6, n - 2), bench_id(3, n), bench_id(7, 1), minutes, amount_rp, 'auto_approve', at,
        at + interval '10 seconds', 'approved', 'mitra', at, at
    FROM payment WHERE slot IN (20, 21)
    """,
    """
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status, changed_at)
    SELECT bench_id(3, n), 'payment', bench_id(3, n), old_status, coalesce(new_status, status), at
    FROM payment, (VALUES (NULL, 'pending'), ('pending', NULL)) AS step (old_status, new_status)
    """,
    """
    INSERT INTO review_cases (id, payment_id, reason, amount_rp, opened_at, tag, status, decision, decision_note,
        decided_by, decided_at, refund_rp, needs_approval)
    SELECT bench_id(21, n), bench_id(3, n), CASE WHEN slot >= 28 THEN 'no_session' ELSE 'cut_short' END, amount_rp, at,
        CASE WHEN slot >= 28 THEN bench_tag(n) END, CASE WHEN is_open_case THEN 'open' ELSE 'decided' END,
        CASE WHEN NOT is_open_case THEN CASE WHEN status = 'refunded' THEN 'refund' ELSE 'no_refund' END END,
        CASE WHEN NOT is_open_case THEN 'maaf' END, CASE WHEN NOT is_open_case THEN bench_id(20, 1) END,
        CASE WHEN NOT is_open_case THEN at + interval '1 day' END,
        CASE WHEN NOT is_open_case AND status = 'refunded' THEN amount_rp END,
        NOT is_open_case AND status = 'refunded' AND n > $1::bigint - 20000 AND bench_percent(n) = 1
    FROM payment WHERE slot >= 28 OR is_cut_short AND NOT is_new
    """,
    """
    INSERT INTO refunds (id, payment_id, charge_attempt_id, amount_rp, reason, status, requested_at, answered_at)
    SELECT bench_id(12, n), bench_id(3, n), bench_id(8, n), amount_rp, 'operator_decision',
        CASE WHEN n > $1::bigint - 30000 AND bench_percent(n) < 4 THEN 'failed' ELSE 'done' END, at, at
    FROM payment WHERE status = 'refunded'
    """,
    """
    INSERT INTO failed_pairing_events (id, payment_id, pairing_id, tag, kind, case_id, occurred_at, recovered,
        amount_rp)
    SELECT bench_id(13, n), bench_id(3, n), CASE WHEN slot >= 28 THEN bench_id(4, n) END,
        CASE WHEN slot >= 28 THEN bench_tag(n) WHEN slot = 18 THEN 'targeted_mitra_timeout'
            ELSE 'payment_session_expired' END,
        CASE WHEN slot >= 28 THEN 'blast' WHEN slot = 18 THEN 'targeted' END,
        CASE WHEN slot >= 28 THEN bench_id(21, n) END, at, slot = 18, amount_rp
    FROM payment WHERE slot >= 28 OR status = 'expired' OR slot = 18 AND bench_percent(n) < 26
    """,
    """
    INSERT INTO audit_entries (actor, action, subject, subject_id, new_value, occurred_at)
    SELECT CASE WHEN slot < 28 THEN 'system' ELSE bench_id(20, 1)::text END,
        CASE WHEN slot < 28 THEN 'refund_done' ELSE 'case_decided' END,
        CASE WHEN slot < 28 THEN 'payment' ELSE 'case' END,
        bench_id(CASE WHEN slot < 28 THEN 3 ELSE 21 END, n)::text, 'refund', at
    FROM payment WHERE slot IN (1, 2, 3, 4, 28, 29)
    """,
    """
    INSERT INTO reports (id, session_id, customer_id, mitra_id, reporter, reason, created_at, urgency, due_at, status,
        decision, decision_note, decided_by, decided_at, closed_at)
    SELECT bench_id(23, n), bench_id(6, n), bench_id(1, customer), bench_id(2, mitra), 'customer', 'insult', at, 1,
        at + interval '1 day', CASE WHEN is_open_case THEN 'open' ELSE 'decided' END, decided.decision,
        decided.decision_note, decided.decided_by, decided.decided_at, decided.decided_at
    FROM payment
    LEFT JOIN LATERAL (
        SELECT 'no_action' AS decision, 'tidak ada' AS decision_note, bench_id(20, 1) AS decided_by, at AS decided_at
    ) AS decided ON NOT is_open_case
    WHERE slot = 4
    """,
)


async def year_of(connection: Connection, sessions: int) -> Records:
    """Write a year with this number of sessions, and sign one operator in. Return the numbers of rows."""
    records = Records(
        payments=sessions * 30 // _SESSIONS_PER_30_PAYMENTS,
        customers=max(_NEWEST, sessions // _SESSIONS_PER_CUSTOMER),
        mitras=max(20, sessions // _SESSIONS_PER_MITRA),
    )
    await people.prepare(connection)
    await people.customers(connection, 0, records.customers + _NEWEST + 1)
    await people.mitras(connection, 0, records.mitras)
    for helper in _HELPERS:
        await connection.execute(helper)
    await _operator(connection)
    # Checks of millions of rows by triggers and foreign keys would take too long. The statements write only valid rows.
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(
        """
        UPDATE customers SET created_at = curhat_now() - interval '1 year' + (number % 365) * interval '1 day',
            call_name = CASE WHEN number % 20 = 0 THEN 'Sari ' WHEN number % 20 < 10 THEN 'Bunga ' ELSE 'Budi ' END
                || number
        FROM generate_series(0, $1::bigint) AS number WHERE id = bench_id(1, number)
        """,
        records.customers + _NEWEST,
    )
    await connection.execute("UPDATE customers SET call_name = 'Melati 1' WHERE id = bench_id(1, 77)")
    await connection.execute("UPDATE mitras SET online = hashtext(id::text) % 2 = 0")
    await connection.execute(
        _PAYMENT.replace("$1", str(records.payments))
        .replace("$2", str(records.customers))
        .replace("$3", str(records.mitras))
    )
    for statement in _TABLES:
        number = records.mitras if "INSERT INTO requests" in statement else records.payments
        await connection.execute(statement.replace("$1", str(number)))
    await connection.execute("RESET session_replication_role")
    await connection.execute("DROP TABLE payment")
    # The worker stores the counts of past hours for the charts, and how mitras answered in past hours.
    await dashboard.keep_hourly_counts(connection, days=30, max_hours=24 * 31)
    await queries.keep_mitra_hours(connection, days=31, max_hours=24 * 31)
    return records


async def _operator(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO operators (id, email, role, password_hash) VALUES (bench_id($1, 1), $2, 'admin', 'none')",
        OPERATOR,
        OPERATOR_EMAIL,
    )
    await connection.execute(
        """
        INSERT INTO what_ifs (id, asked_by, question, status, finished_at)
        VALUES (bench_id($2, 1), bench_id($1, 1), '{}', 'cancelled', curhat_now())
        """,
        OPERATOR,
        WHAT_IF,
    )
    # Customers do not accept the code of conduct, so this text keeps nobody from paying.
    await connection.execute(
        "INSERT INTO texts (kind, version, body_id, body_en, is_draft, published_by) "
        "VALUES ('code_of_conduct', 1, '# Isi', '# Body', true, bench_id($1, 1)::text)",
        OPERATOR,
    )
    await connection.execute(
        """
        INSERT INTO operator_tokens (digest, operator_id, transport, user_agent, address, expires_at)
        VALUES (sha256(convert_to($2, 'UTF8')), bench_id($1, 1), 'bearer', 'bench', '127.0.0.1',
            curhat_now() + interval '1 day')
        """,
        OPERATOR,
        OPERATOR_TOKEN,
    )
