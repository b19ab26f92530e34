-- type: answer = RatingAnswer from curhat.safety.ratings.states
-- type: tags = RatingTag from curhat.safety.ratings.states

-- name: write_rating :optional
-- Insert or replace the customer's rating of an own session. The same answer again changes nothing. Returns no row if the
-- session cannot be rated: it is another customer's, it runs, it ended 7 days ago, or one side wrote nothing.
-- row: RatingRow
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now)
INSERT INTO ratings (session_id, customer_id, mitra_id, session_ended_at, answer, tags, rated_at)
SELECT sessions.id, sessions.customer_id, sessions.mitra_id, sessions.ended_at, @answer, @tags::text[], moment.now
FROM sessions, moment
WHERE sessions.id = @session_id AND sessions.customer_id = @customer_id AND sessions.status = 'ended'
    AND moment.now < sessions.ended_at + make_interval(days => @rating_days)
    AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'customer')
    AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'mitra')
ON CONFLICT (session_id) DO UPDATE SET answer = excluded.answer, tags = excluded.tags,
    rated_at = CASE WHEN (ratings.answer, ratings.tags) = (excluded.answer, excluded.tags) THEN ratings.rated_at
        ELSE excluded.rated_at END
RETURNING session_id, answer, tags, rated_at

-- name: is_session_of_customer :one
SELECT EXISTS (SELECT 1 FROM sessions WHERE id = @session_id AND customer_id = @customer_id) AS is_own

-- name: read_rating :optional
-- Read the rating of a session.
-- row: RatingRow
SELECT session_id, answer, tags, rated_at FROM ratings WHERE session_id = @session_id

-- name: read_closing :optional
-- Read until when this customer can rate the session. `closes_at` is null if the session cannot be rated now. Returns no
-- row if the session is not this customer's.
-- row: RatingClosing
-- nullable: closes_at
SELECT moment.now AS server_now, CASE
    WHEN sessions.status = 'ended' AND moment.now < sessions.ended_at + make_interval(days => @rating_days)
        AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'customer')
        AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id AND sender = 'mitra')
    THEN sessions.ended_at + make_interval(days => @rating_days)
END AS closes_at
FROM sessions, (SELECT curhat_now() AS now) AS moment
WHERE sessions.id = @session_id AND sessions.customer_id = @customer_id

-- name: read_next_beginning :one
-- Read where the mitra's next sum begins: at the end of the last sum, or else in the week of the mitra's first session.
-- Null: the mitra had no session.
-- nullable: begins_on
SELECT coalesce(
    (SELECT max(ends_on) FROM rating_sums WHERE mitra_id = @mitra_id),
    date_trunc('week', (
        SELECT started_at FROM sessions WHERE mitra_id = @mitra_id ORDER BY id LIMIT 1
    ) AT TIME ZONE @zone::text)::date
) AS begins_on

-- name: list_ratings_to_sum :many
-- Read the mitra's ratings of the weeks from @begins_on to the one before @ends_on, in the order of the weeks.
-- row: RatingToSum
SELECT date_trunc('week', rated_at AT TIME ZONE @zone::text)::date AS monday, customer_id, answer
FROM ratings
WHERE mitra_id = @mitra_id AND rated_at >= @begins_on::date::timestamp AT TIME ZONE @zone::text
    AND rated_at < @ends_on::date::timestamp AT TIME ZONE @zone::text
ORDER BY rated_at LIMIT @max_ratings

-- name: insert_sum :execrows
-- Insert a sum. Inserts nothing if a concurrent transaction has inserted a sum with the same beginning.
INSERT INTO rating_sums (mitra_id, begins_on, ends_on, helpful, neutral, uncomfortable, customers)
VALUES (@mitra_id, @begins_on, @ends_on, @helpful, @neutral, @uncomfortable, @customers)
ON CONFLICT (mitra_id, begins_on) DO NOTHING

-- name: list_sums :many
-- Read the mitra's newest sums.
-- row: SumRow
SELECT begins_on, ends_on, helpful, neutral, uncomfortable FROM rating_sums
WHERE mitra_id = @mitra_id ORDER BY begins_on DESC LIMIT @max_sums

-- name: count_ratings_of_mitra :many
-- Count the ratings of the mitra's sessions by their answers and tags.
-- row: RatingCount
SELECT answer, tags, count(*)::integer AS ratings FROM ratings WHERE mitra_id = @mitra_id GROUP BY answer, tags

-- name: count_ratings_by_customer :many
-- Count the ratings that the customer gave by their answers and tags.
-- row: RatingCount
SELECT answer, tags, count(*)::integer AS ratings FROM ratings WHERE customer_id = @customer_id GROUP BY answer, tags
