-- type: behaviour = Behaviour from curhat.payments.mock.schemas
-- type: charge_status = RecordedChargeStatus from curhat.payments.mock.schemas
-- type: refund_status = RecordedRefundStatus from curhat.payments.mock.schemas

-- name: record_charge :optional
-- Record a charge (nothing → @charge_status). The mock gateway reports this status only after @known_after_seconds.
-- Returns no row if the key already has a charge.
-- nullable: @customer_id
INSERT INTO mock_gateway.charges (key, payment_id, customer_id, amount_rp, status, known_at, at)
VALUES (@key, @payment_id, @customer_id, @amount_rp, @charge_status,
    clock_timestamp() + make_interval(secs => @known_after_seconds), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: find_charge :optional
-- Read the status that the mock reports for a charge.
SELECT CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS charge_status
FROM mock_gateway.charges WHERE key = @key

-- name: find_charge_amount :one
SELECT amount_rp FROM mock_gateway.charges WHERE key = @key

-- name: record_refund :optional
-- Record a refund (nothing → @refund_status). The mock gateway reports this status only after @known_after_seconds.
-- Returns no row if the key already has a refund.
INSERT INTO mock_gateway.refunds (key, charge_key, payment_id, amount_rp, status, known_at, at)
VALUES (@key, @charge_key, @payment_id, @amount_rp, @refund_status,
    clock_timestamp() + make_interval(secs => @known_after_seconds), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: find_refund :optional
-- Read the status that the mock reports for a refund.
SELECT CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS refund_status
FROM mock_gateway.refunds WHERE key = @key

-- name: decide_charges :many
-- Decide the charges of one payment (processing → @charge_status). If @payment_id is null, the statement decides the
-- charges of all payments that have no behaviour of their own.
-- nullable: @payment_id
UPDATE mock_gateway.charges SET status = @charge_status
WHERE status = 'processing' AND (payment_id = @payment_id OR @payment_id::uuid IS NULL
    AND payment_id NOT IN (SELECT payment_id FROM mock_gateway.behaviours WHERE payment_id IS NOT NULL))
RETURNING key

-- name: decide_refunds :many
-- Decide the refunds of the payments that decide_charges selects (processing → @refund_status).
-- nullable: @payment_id
UPDATE mock_gateway.refunds SET status = @refund_status
WHERE status = 'processing' AND (payment_id = @payment_id OR @payment_id::uuid IS NULL
    AND payment_id NOT IN (SELECT payment_id FROM mock_gateway.behaviours WHERE payment_id IS NOT NULL))
RETURNING key

-- name: set_behaviour :exec
-- Set the mock's behaviour for one payment. If @payment_id is null, set the default behaviour.
-- nullable: @payment_id
INSERT INTO mock_gateway.behaviours (payment_id, behaviour) VALUES (@payment_id, @behaviour)
ON CONFLICT (payment_id) DO UPDATE SET behaviour = excluded.behaviour

-- name: find_behaviour :optional
-- Read the mock's behaviour for this payment. If the payment has no behaviour, read the default behaviour. Returns no
-- row if there is no default behaviour either.
SELECT behaviour FROM mock_gateway.behaviours WHERE payment_id = @payment_id OR payment_id IS NULL
ORDER BY payment_id NULLS LAST LIMIT 1

-- name: list_charges :many
-- Read the payment's charges, oldest first.
SELECT key, payment_id, amount_rp, status, at FROM mock_gateway.charges
WHERE payment_id = @payment_id ORDER BY at, key

-- name: list_refunds :many
-- Read the payment's refunds, oldest first.
SELECT key, charge_key, payment_id, amount_rp, status, at FROM mock_gateway.refunds
WHERE payment_id = @payment_id ORDER BY at, key

-- name: list_charges_since :many
-- Read all charges since @since.
-- nullable: customer_id
SELECT key, payment_id, customer_id, amount_rp,
    CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS status, at
FROM mock_gateway.charges WHERE at >= @since AND is_listed

-- name: forget_charges :exec
-- Leave the charges of a payment out of the list. A question about the charge still finds it.
UPDATE mock_gateway.charges SET is_listed = false WHERE payment_id = @payment_id

-- name: list_refunds_since :many
-- Read all refunds since @since.
SELECT key, charge_key, payment_id, amount_rp,
    CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS status, at
FROM mock_gateway.refunds WHERE at >= @since
