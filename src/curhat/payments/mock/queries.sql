-- type: behaviour = Behaviour from curhat.payments.mock.schemas
-- type: charge_status = RecordedChargeStatus from curhat.payments.mock.schemas
-- type: refund_status = RecordedRefundStatus from curhat.payments.mock.schemas

-- name: record_charge :optional
-- nothing → @charge_status, which becomes known after @known_after_seconds. No row: the key has a charge
-- already.
INSERT INTO mock_gateway.charges (key, payment_id, amount_rp, status, known_at, at)
VALUES (@key, @payment_id, @amount_rp, @charge_status,
    clock_timestamp() + make_interval(secs => @known_after_seconds), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key

-- name: find_charge :optional
-- What became of the charge; `is_processing` while its answer is not known yet.
SELECT status AS charge_status, known_at > clock_timestamp() AS is_processing
FROM mock_gateway.charges WHERE key = @key

-- name: record_refund :exec
-- nothing → @refund_status. A key that has a refund keeps it.
INSERT INTO mock_gateway.refunds (key, charge_key, payment_id, amount_rp, status, at)
VALUES (@key, @charge_key, @payment_id, @amount_rp, @refund_status, clock_timestamp())
ON CONFLICT (key) DO NOTHING

-- name: find_refund :optional
SELECT status AS refund_status FROM mock_gateway.refunds WHERE key = @key

-- name: set_behaviour :exec
-- The behaviour towards one payment; without @payment_id, towards every payment that has none of its own.
-- nullable: @payment_id
INSERT INTO mock_gateway.behaviours (payment_id, behaviour) VALUES (@payment_id, @behaviour)
ON CONFLICT (payment_id) DO UPDATE SET behaviour = excluded.behaviour

-- name: find_behaviour :optional
-- The payment's own behaviour, or else the one towards every payment. No row: neither was set.
SELECT behaviour FROM mock_gateway.behaviours WHERE payment_id = @payment_id OR payment_id IS NULL
ORDER BY payment_id NULLS LAST LIMIT 1

-- name: list_charges :many
-- The payment's charges, oldest first.
SELECT key, payment_id, amount_rp, status AS charge_status, at FROM mock_gateway.charges
WHERE payment_id = @payment_id ORDER BY at, key

-- name: list_refunds :many
-- The payment's refunds, oldest first.
SELECT key, charge_key, payment_id, amount_rp, status AS refund_status, at FROM mock_gateway.refunds
WHERE payment_id = @payment_id ORDER BY at, key
