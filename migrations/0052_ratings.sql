-- Ratings of sessions by their customers (T.6).

CREATE TABLE ratings (
    session_id uuid PRIMARY KEY REFERENCES sessions (id),
    -- The two members of the session. The foreign key of `session_id` already shows that they exist.
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    -- When the session ended. The customer can rate the session for 7 days after it.
    session_ended_at timestamptz NOT NULL,
    answer text NOT NULL CHECK (answer IN ('helpful', 'neutral', 'uncomfortable')),
    tags text[] NOT NULL DEFAULT '{}' CHECK (
        cardinality(tags) <= 5
        AND tags <@ ARRAY['felt_heard', 'kind', 'useful', 'slow', 'distracted', 'judged', 'pushy']
    ),
    -- When the customer last changed the answer. The answer counts in this week.
    rated_at timestamptz NOT NULL DEFAULT curhat_now(),
    CONSTRAINT ratings_in_time CHECK (rated_at < session_ended_at + interval '7 days')
);
CREATE INDEX ratings_by_mitra ON ratings (mitra_id, rated_at);
CREATE INDEX ratings_by_customer ON ratings (customer_id);

-- The sums that a mitra sees. A row is written once and never changes, so no two views of a mitra differ by single
-- ratings. The periods of a mitra follow each other: each begins where the last one ended.
CREATE TABLE rating_sums (
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    -- Both are Mondays. The week of `ends_on` is not part of the period.
    begins_on date NOT NULL CHECK (extract(isodow FROM begins_on) = 1),
    ends_on date NOT NULL CHECK (extract(isodow FROM ends_on) = 1),
    helpful integer NOT NULL CHECK (helpful >= 0),
    neutral integer NOT NULL CHECK (neutral >= 0),
    uncomfortable integer NOT NULL CHECK (uncomfortable >= 0),
    -- How many different customers gave these ratings. Nobody is shown this number.
    customers integer NOT NULL,
    written_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- One period per beginning, and one per end: with this, no week counts twice.
    PRIMARY KEY (mitra_id, begins_on),
    UNIQUE (mitra_id, ends_on),
    CONSTRAINT rating_sums_of_a_period CHECK (begins_on < ends_on),
    CONSTRAINT rating_sums_hide_single_ratings CHECK (helpful + neutral + uncomfortable >= 10 AND customers >= 5)
);
