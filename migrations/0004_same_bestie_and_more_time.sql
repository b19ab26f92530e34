-- This file adds targeted pairings ("Curhat lagi") with their fallback, and paid extensions of a session.
--
-- PostgreSQL itself enforces the rules below.
--   A payment with a chosen mitra gets no blast before the customer takes the fallback.
--   A fallback sends no request to the mitra in left_out_mitra_id.
--   A session has at most one open extension.
--   An extension gets a charge attempt only while its status is 'charging'.
--   An extension becomes 'approved' only if the gateway has approved its charge.
--   If the mitra does not answer in time, the default action in the extension's row decides the extension.
--   An extension's status changes only by an allowed transition.
--
-- The code locks the session's row before it changes an extension or the extension's payment. Transactions take their
-- locks in this order: payment with the purpose 'session', pairing, session, mitra, requests by id, extension, the
-- extension's payment, streams.
--
-- Constraints on tables that already have rows are NOT VALID. PostgreSQL checks a NOT VALID constraint only when a row
-- is written. So PostgreSQL adds a NOT VALID constraint without reading the whole table under a lock. Existing rows
-- satisfy the constraints, because the new columns of these rows are null.

-- Fallbacks --------------------------------------------------------------------------------------------------

ALTER TABLE pairings
    -- After a targeted pairing fails, the customer can take one blast without a new payment (3.5).
    ADD COLUMN fallback_status text,
    ADD COLUMN fallback_answer_by timestamptz,
    -- If the chosen mitra rejected the targeted request or let it time out, the fallback does not ask this mitra (3.9).
    ADD COLUMN left_out_mitra_id uuid;

ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_status
    CHECK (fallback_status IN ('open', 'taken', 'declined', 'expired')) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_has_time
    CHECK ((fallback_status IS NULL) = (fallback_answer_by IS NULL)) NOT VALID;
-- A failed targeted pairing offers a fallback, unless the customer cancelled the pairing.
ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_after_a_targeted_failure CHECK (
    (fallback_status IS NOT NULL) = (kind = 'targeted' AND coalesce(failure_tag, '') IN (
        'targeted_mitra_offline', 'targeted_mitra_rejected', 'targeted_mitra_timeout'))
) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_only_a_blast_leaves_out
    CHECK (left_out_mitra_id IS NULL OR kind = 'blast') NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_left_out_mitra_id_fkey
    FOREIGN KEY (left_out_mitra_id) REFERENCES mitras (id) NOT VALID;

-- If the customer chose a mitra, the first pairing of the payment is targeted at this mitra. If the customer takes the
-- fallback, one blast can follow.
CREATE FUNCTION pairing_of_its_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chosen uuid := (SELECT target_mitra_id FROM payments WHERE id = NEW.payment_id);
BEGIN
    IF NEW.kind = 'targeted' AND chosen IS DISTINCT FROM NEW.target_mitra_id
        OR NEW.kind = 'blast' AND chosen IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM pairings
            WHERE payment_id = NEW.payment_id AND kind = 'targeted' AND fallback_status = 'taken'
        )
    THEN
        RAISE EXCEPTION 'a % pairing does not fit its payment', NEW.kind
            USING ERRCODE = 'check_violation', CONSTRAINT = 'pairings_of_their_payment';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER pairings_of_their_payment BEFORE INSERT ON pairings
    FOR EACH ROW EXECUTE FUNCTION pairing_of_its_payment();

-- A pairing never asks the mitra in left_out_mitra_id, and never asks its own customer. A targeted pairing asks only
-- target_mitra_id. The trigger runs once per statement, because one statement of a blast inserts many requests.
CREATE FUNCTION requests_of_their_pairing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM asked JOIN pairings ON pairings.id = asked.pairing_id
        WHERE pairings.left_out_mitra_id = asked.mitra_id OR pairings.target_mitra_id <> asked.mitra_id
            OR pairings.customer_id = asked.mitra_id
    ) THEN
        RAISE EXCEPTION 'a pairing does not ask this mitra'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'requests_of_their_pairing';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER requests_of_their_pairing AFTER INSERT ON requests REFERENCING NEW TABLE AS asked
    FOR EACH STATEMENT EXECUTE FUNCTION requests_of_their_pairing();

-- A payment has at most one event without a pairing. An event without a pairing records that the payment expired,
-- because the customer either never paid or never answered the fallback.
-- squawk-ignore require-concurrent-index-creation  -- a table of failures is small
CREATE UNIQUE INDEX failed_pairing_events_one_expiry ON failed_pairing_events (payment_id) WHERE pairing_id IS NULL;

-- Extensions ---------------------------------------------------------------------------------------------------

CREATE TABLE extensions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    session_id uuid NOT NULL REFERENCES sessions (id),
    payment_id uuid NOT NULL CONSTRAINT extensions_one_a_payment UNIQUE REFERENCES payments (id),
    -- The terms of an extension are fixed when the customer asks for the extension (5.7).
    offer_id uuid NOT NULL REFERENCES offers (id),
    duration_minutes integer NOT NULL CHECK (duration_minutes > 0),
    price_rp integer NOT NULL CHECK (price_rp > 0),
    default_action text NOT NULL CHECK (default_action IN ('auto_reject', 'auto_approve')),
    requested_at timestamptz NOT NULL DEFAULT curhat_now(),
    deadline_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'charging', 'approved', 'rejected', 'charge_failed')),
    decided_by text CHECK (decided_by IN ('mitra', 'timeout', 'mitra_unreachable', 'session_ended')),
    decided_at timestamptz,
    -- The gateway must approve the charge before charge_by. If the gateway approves the charge after charge_by, the
    -- worker refunds the charge.
    charge_by timestamptz,
    -- mitra_went_offline is true if the mitra went offline while the extension was pending. An extension with
    -- mitra_went_offline set cannot be approved (5.6).
    mitra_went_offline boolean NOT NULL DEFAULT false,
    CONSTRAINT extensions_decided
        CHECK ((status = 'pending') = (decided_by IS NULL) AND (status = 'pending') = (decided_at IS NULL)),
    CONSTRAINT extensions_charged_after_approval
        CHECK ((status IN ('charging', 'approved', 'charge_failed')) = (charge_by IS NOT NULL)),
    CONSTRAINT extensions_who_may_approve CHECK (charge_by IS NULL OR decided_by IN ('mitra', 'timeout')),
    CONSTRAINT extensions_nobody_there_approves_nothing CHECK (charge_by IS NULL OR NOT mitra_went_offline),
    CONSTRAINT extensions_silence_does_what_it_says CHECK (
        decided_by IS DISTINCT FROM 'timeout'
        OR (charge_by IS NOT NULL) = (default_action = 'auto_approve'))
);
CREATE UNIQUE INDEX extensions_one_open ON extensions (session_id) WHERE status IN ('pending', 'charging');
CREATE INDEX extensions_by_session ON extensions (session_id, id DESC);

-- open_extension_id is the session's open extension. An open extension delays the session's end. The sessions row
-- stores the extension's id for the statement send_messages. The statement locks only the sessions row, so this row
-- must show whether an extension is open. The index extensions_one_open allows one open extension per session.
ALTER TABLE sessions ADD COLUMN open_extension_id uuid;
ALTER TABLE sessions ADD CONSTRAINT sessions_open_extension_id_fkey
    FOREIGN KEY (open_extension_id) REFERENCES extensions (id) NOT VALID;
ALTER TABLE sessions ADD CONSTRAINT sessions_ended_without_open_extension
    CHECK (status = 'active' OR open_extension_id IS NULL) NOT VALID;

-- squawk-ignore ban-drop-constraint  -- the next statement adds a wider constraint
ALTER TABLE status_changes DROP CONSTRAINT status_changes_entity_check;
ALTER TABLE status_changes ADD CONSTRAINT status_changes_entity_check
    CHECK (entity IN ('payment', 'pairing', 'session', 'extension')) NOT VALID;

CREATE FUNCTION extension_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (
        ('pending', 'charging'), ('pending', 'rejected'), ('charging', 'approved'), ('charging', 'charge_failed')
    ) THEN
        RAISE EXCEPTION 'extension % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'extensions_allowed_steps';
    END IF;
    IF NEW.status = 'approved' AND NOT EXISTS (
        SELECT 1 FROM charge_attempts WHERE payment_id = NEW.payment_id AND status = 'approved'
    ) THEN
        RAISE EXCEPTION 'extension % is not charged', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'extensions_approved_means_charged';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'extension', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER extensions_opened AFTER INSERT ON extensions FOR EACH ROW EXECUTE FUNCTION extension_status_changed();
CREATE TRIGGER extensions_step AFTER UPDATE ON extensions FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION extension_status_changed();

-- The server charges for an extension when the mitra or the timeout approves the extension (5.4). So only an extension
-- in 'charging' gets a charge attempt.
CREATE FUNCTION charge_of_an_approved_extension() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM extensions WHERE payment_id = NEW.payment_id AND status <> 'charging') THEN
        RAISE EXCEPTION 'payment % is for an extension that nobody approved', NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_attempts_of_an_approved_extension';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER charge_attempts_of_an_approved_extension BEFORE INSERT ON charge_attempts
    FOR EACH ROW EXECUTE FUNCTION charge_of_an_approved_extension();
