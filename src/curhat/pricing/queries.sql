-- type: purpose = Purpose from curhat.pricing.schemas
-- type: purposes = Purpose from curhat.pricing.schemas

-- name: list_offers :many
-- Read the current offers that this customer can choose. The trial comes first, and the paid offers follow in order of
-- duration.
SELECT id, duration_minutes, price_rp, is_trial FROM offers
WHERE purpose = @purpose AND withdrawn_at IS NULL
    AND NOT (is_trial AND trial_is_used(@customer_id))
ORDER BY is_trial DESC, duration_minutes

-- name: read_public_prices :one
-- Read the lowest price of a session, and the duration of the trial.
-- nullable: lowest_price_rp, trial_minutes
-- row: PublicPrices
SELECT min(price_rp) FILTER (WHERE NOT is_trial) AS lowest_price_rp,
    min(duration_minutes) FILTER (WHERE is_trial) AS trial_minutes
FROM offers WHERE purpose = 'session' AND withdrawn_at IS NULL

-- name: find_offer :optional
-- Read one current offer. `is_used_up` is true if the offer is the trial and this customer can no longer use the trial.
-- Returns no row if the offer is unknown, withdrawn or for another purpose.
SELECT id, duration_minutes, price_rp, is_trial, is_trial AND trial_is_used(@customer_id) AS is_used_up
FROM offers WHERE id = @id AND purpose = @purpose AND withdrawn_at IS NULL

-- name: is_trial_available :one
SELECT EXISTS (SELECT 1 FROM offers WHERE is_trial AND withdrawn_at IS NULL)
    AND NOT trial_is_used(@customer_id) AS is_available

-- name: is_trial_used :one
SELECT trial_is_used(@customer_id) AS is_used

-- name: seed_offers :exec
-- Insert each offer (nothing → current). An offer at Rp0 is the trial. If a current offer already has the purpose and
-- the duration of a given offer, the statement skips the given offer.
INSERT INTO offers (purpose, duration_minutes, price_rp, is_trial)
SELECT purpose, duration_minutes, price_rp, price_rp = 0
FROM unnest(@purposes::text[], @durations_minutes::integer[], @prices_rp::integer[])
    AS seed (purpose, duration_minutes, price_rp)
ON CONFLICT (purpose, duration_minutes, is_trial) WHERE withdrawn_at IS NULL DO NOTHING
