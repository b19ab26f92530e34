"""Write one month of rows, so that lists have several pages and charts have curves.

The statements run without triggers and foreign key checks, because the checks would take most of the time. The tests
only read the rows.
"""

from typing import Final

from tests.browser.system import System

STATEMENTS: Final = (
    "SET LOCAL session_replication_role = replica",
    """
    CREATE TEMP TABLE named ON COMMIT DROP AS
    SELECT uuidv7() AS id, number, name, number <= 24 AS is_customer
    FROM unnest(ARRAY['Melati', 'Kenanga', 'Mawar', 'Anggrek', 'Dahlia', 'Cempaka', 'Seruni', 'Teratai', 'Flamboyan',
        'Bougenville', 'Kamboja', 'Sedap Malam', 'Rara', 'Dimas', 'Intan', 'Bagas', 'Lestari', 'Putri Ayu', 'Galih',
        'Nadia', 'Yoga', 'Wening', 'Tirta', 'Sekar', 'Kak Sari', 'Kak Budi', 'Kak Wulan', 'Kak Tari', 'Kak Adit',
        'Kak Ratna']) WITH ORDINALITY AS names (name, number)
    """,
    "INSERT INTO people (id, phone_number) SELECT id, '+6281390' || lpad(number::text, 6, '0') FROM named",
    """
    INSERT INTO customers (id, call_name, created_at)
    SELECT id, name, curhat_now() - make_interval(days => 30, hours => number::integer * 7) FROM named WHERE is_customer
    """,
    """
    INSERT INTO mitras (id, display_name, max_customers, online, created_at, last_seen_at)
    SELECT id, name, 3, false, curhat_now() - make_interval(days => 31, hours => number::integer),
        curhat_now() - make_interval(mins => number::integer * 11)
    FROM named WHERE NOT is_customer
    """,
    # Few customers visit at noon, and many customers visit in the evening. Each day has a different number of visits.
    """
    CREATE TEMP TABLE visits ON COMMIT DROP AS
    SELECT row_number() OVER () AS number, uuidv7() AS payment_id, uuidv7() AS pairing_id, uuidv7() AS session_id,
        at, 2 + (hour * 5 + visit * 3) % 19 AS accept_seconds
    FROM generate_series(2, 718) AS hour
    CROSS JOIN LATERAL (SELECT curhat_now() - make_interval(hours => hour) AS began) AS hours
    CROSS JOIN LATERAL generate_series(1, (
        ARRAY[1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 2, 3, 3, 4, 4, 3, 2]
    )[1 + extract(hour FROM began AT TIME ZONE 'Asia/Jakarta')::integer] - (hour / 24 % 5 = 2)::integer) AS visit
    CROSS JOIN LATERAL (SELECT began + make_interval(mins => (hour * 13 + visit * 17) % 55) AS at) AS visited
    """,
    """
    CREATE TEMP TABLE journeys ON COMMIT DROP AS
    SELECT visits.*, customer.id AS customer_id, mitra.id AS mitra_id, offer.id AS offer_id, offer.duration_minutes,
        offer.price_rp,
        CASE WHEN visits.number % 9 = 4 THEN 'unserved' WHEN visits.number % 13 = 5 THEN 'expired' ELSE 'served' END
            AS status,
        (ARRAY['no_mitra_available', 'customer_cancelled', 'no_mitra_available', 'all_mitras_rejected'])[
            1 + visits.number / 9 % 4] AS tag,
        (ARRAY['time_up', 'time_up', 'customer_ended'])[1 + visits.number % 3] AS end_reason
    FROM visits
    JOIN named AS customer ON customer.number = 1 + visits.number * 7 % 24
    JOIN named AS mitra ON mitra.number = 25 + visits.number * 5 % 6
    JOIN (
        SELECT *, row_number() OVER (ORDER BY price_rp) AS place FROM offers WHERE purpose = 'session' AND price_rp > 0
    ) AS offer ON offer.place = 1 + visits.number % 3
    """,
    """
    INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, created_at,
        expires_at, confirmed_at, closed_at)
    SELECT payment_id, customer_id, 'session', status, offer_id, duration_minutes, price_rp, false, at,
        at + interval '20 minutes', CASE WHEN status <> 'expired' THEN at + interval '9 seconds' END,
        at + CASE WHEN status = 'expired' THEN interval '20 minutes' ELSE interval '69 seconds' END
    FROM journeys
    """,
    """
    INSERT INTO charge_attempts (payment_id, amount_rp, status, started_at, answered_at)
    SELECT payment_id, price_rp, 'approved', at + interval '8 seconds', at + interval '9 seconds'
    FROM journeys WHERE status <> 'expired'
    """,
    """
    INSERT INTO pairings (id, payment_id, customer_id, kind, status, failure_tag, created_at, deadline_at, decided_at)
    SELECT pairing_id, payment_id, customer_id, 'blast', CASE status WHEN 'served' THEN 'matched' ELSE 'failed' END,
        CASE status WHEN 'unserved' THEN tag END, at + interval '9 seconds', at + interval '69 seconds',
        at + CASE status WHEN 'served' THEN make_interval(secs => 9 + accept_seconds) ELSE interval '69 seconds' END
    FROM journeys WHERE status <> 'expired'
    """,
    """
    INSERT INTO requests (pairing_id, mitra_id, status, close_reason, is_returning, offered_at, answered_at)
    SELECT pairing_id, mitra_id, CASE status WHEN 'served' THEN 'accepted' ELSE 'closed' END,
        CASE status WHEN 'unserved' THEN 'timed_out' END, false, at + interval '9 seconds',
        at + make_interval(secs => 9 + accept_seconds)
    FROM journeys WHERE status <> 'expired'
    """,
    """
    INSERT INTO sessions (id, payment_id, pairing_id, customer_id, mitra_id, status, duration_minutes, is_trial,
        started_at, ends_at, ended_at, end_reason)
    SELECT session_id, payment_id, pairing_id, customer_id, mitra_id, 'ended', duration_minutes, false,
        at + make_interval(secs => 9 + accept_seconds), at + make_interval(mins => duration_minutes),
        at + make_interval(mins => duration_minutes), end_reason
    FROM journeys WHERE status = 'served'
    """,
    # A case is decided if it is older than a day and a half.
    """
    INSERT INTO review_cases (payment_id, reason, amount_rp, opened_at, tag, status, decision, decision_note,
        decided_by, decided_at)
    SELECT payment_id, 'no_session', price_rp, at + interval '69 seconds', tag,
        CASE WHEN old THEN 'decided' ELSE 'open' END, CASE WHEN old THEN 'no_refund' END,
        CASE WHEN old THEN 'Sesuai aturan.' END, CASE WHEN old THEN (SELECT id FROM operators ORDER BY id LIMIT 1) END,
        CASE WHEN old THEN at + interval '3 hours' END
    FROM journeys CROSS JOIN LATERAL (SELECT at < curhat_now() - interval '36 hours' AS old) AS age
    WHERE journeys.status = 'unserved'
    """,
    """
    INSERT INTO failed_pairing_events (payment_id, pairing_id, tag, kind, case_id, occurred_at)
    SELECT journeys.payment_id, CASE journeys.status WHEN 'unserved' THEN pairing_id END,
        CASE journeys.status WHEN 'unserved' THEN journeys.tag ELSE 'payment_session_expired' END,
        CASE journeys.status WHEN 'unserved' THEN 'blast' END, review_cases.id,
        at + CASE journeys.status WHEN 'unserved' THEN interval '69 seconds' ELSE interval '20 minutes' END
    FROM journeys LEFT JOIN review_cases USING (payment_id) WHERE journeys.status <> 'served'
    """,
)


async def past_month(system: System) -> None:
    """Write the rows. An operator must exist, because each decided case stores an operator."""
    async with system.database.transaction() as tx:
        for statement in STATEMENTS:
            await tx.execute(statement)
