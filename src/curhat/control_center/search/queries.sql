-- type: kind = FoundKind from curhat.control_center.search.schemas

-- name: find_by_id :many
-- Find whatever has this id. The id of a person can belong to a customer and to a mitra.
-- row: FoundId
-- nullable: payment_id
SELECT 'customer' AS kind, id, NULL::uuid AS payment_id FROM customers WHERE id = @id
UNION ALL
SELECT 'mitra', id, NULL FROM mitras WHERE id = @id
UNION ALL
SELECT 'payment', id, id FROM payments WHERE id = @id
UNION ALL
SELECT 'session', id, payment_id FROM sessions WHERE id = @id
UNION ALL
SELECT 'case', id, payment_id FROM review_cases WHERE id = @id
UNION ALL
SELECT 'pairing', id, payment_id FROM pairings WHERE id = @id
UNION ALL
SELECT 'request', requests.id, pairings.payment_id
FROM requests JOIN pairings ON pairings.id = requests.pairing_id WHERE requests.id = @id
UNION ALL
SELECT 'extension', id, payment_id FROM extensions WHERE id = @id
UNION ALL
SELECT 'charge', id, payment_id FROM charge_attempts WHERE id = @id
UNION ALL
SELECT 'refund', id, payment_id FROM refunds WHERE id = @id
UNION ALL
SELECT 'failed_pairing', id, payment_id FROM failed_pairing_events WHERE id = @id

-- name: find_by_short_id :many
-- Find what has an id that ends with these eight characters. The result has at most @max_results of each kind.
-- row: FoundId
-- nullable: payment_id
(SELECT 'payment' AS kind, id, id AS payment_id FROM payments WHERE right(id::text, 8) = @short_id
    ORDER BY id DESC LIMIT @max_results)
UNION ALL
(SELECT 'session', id, payment_id FROM sessions WHERE right(id::text, 8) = @short_id LIMIT @max_results)
UNION ALL
(SELECT 'customer', id, NULL FROM customers WHERE right(id::text, 8) = @short_id LIMIT @max_results)
UNION ALL
(SELECT 'mitra', id, NULL FROM mitras WHERE right(id::text, 8) = @short_id LIMIT @max_results)
UNION ALL
(SELECT 'case', id, payment_id FROM review_cases WHERE right(id::text, 8) = @short_id LIMIT @max_results)

-- name: find_by_phone :many
-- Find the customer and the mitra with this phone number.
-- row: FoundId
-- nullable: payment_id
SELECT 'customer' AS kind, customers.id, NULL::uuid AS payment_id
FROM people JOIN customers ON customers.id = people.id WHERE people.phone_number = @phone_number
UNION ALL
SELECT 'mitra', mitras.id, NULL
FROM people JOIN mitras ON mitras.id = people.id WHERE people.phone_number = @phone_number

-- name: find_by_name :many
-- Find customers and mitras whose name begins with this text, newest first, at most @max_results of each. @pattern is in
-- small letters and ends with %.
-- row: FoundId
-- nullable: payment_id
(SELECT 'customer' AS kind, id, NULL::uuid AS payment_id FROM customers WHERE lower(call_name) LIKE @pattern
    ORDER BY created_at DESC, id DESC LIMIT @max_results)
UNION ALL
(SELECT 'mitra', id, NULL FROM mitras WHERE lower(display_name) LIKE @pattern
    ORDER BY created_at DESC, id DESC LIMIT @max_results)

-- name: list_newest_payments :many
-- Find the newest payments of a customer.
SELECT id FROM payments WHERE customer_id = @customer_id ORDER BY id DESC LIMIT @max_results

-- name: describe_people :many
-- Read the names and phone numbers of these people.
-- row: FoundPerson
-- nullable: call_name, display_name
SELECT people.id, people.phone_number, customers.call_name, mitras.display_name
FROM people
LEFT JOIN customers ON customers.id = people.id
LEFT JOIN mitras ON mitras.id = people.id
WHERE people.id = ANY (@ids::uuid[])

-- name: describe_payments :many
-- Read these payments with their customers.
-- row: FoundPayment
SELECT payments.id, payments.purpose, payments.status, payments.amount_rp, payments.created_at, customers.call_name,
    people.phone_number
FROM payments
JOIN customers ON customers.id = payments.customer_id
JOIN people ON people.id = payments.customer_id
WHERE payments.id = ANY (@ids::uuid[])
