-- This file adds devices, and limits that count the failed sign-ins of each device separately (decision 0072).

-- Each access token stands for a device on which a person is signed in. The previous version of the code does not write
-- the new columns, so the rows that it inserts get the default values. Migration 0012 fills the new columns of existing
-- rows.
ALTER TABLE access_tokens
    ADD COLUMN id uuid,
    ADD COLUMN last_seen_at timestamptz,
    -- squawk-ignore adding-field-with-default
    ADD COLUMN user_agent text NOT NULL DEFAULT '',
    -- known_device_digest identifies the known device that the service recorded when it issued this token.
    ADD COLUMN known_device_digest bytea;
ALTER TABLE access_tokens ALTER COLUMN id SET DEFAULT uuidv7();
ALTER TABLE access_tokens ALTER COLUMN last_seen_at SET DEFAULT curhat_now();
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_user_agent_check
    CHECK (char_length(user_agent) <= 200) NOT VALID;

-- Each row is a device on which a person or an operator has signed in. The device keeps its secret after a sign-out.
-- The service counts the sign-in tries of a known device separately from the tries of all other devices. The table
-- stores only the SHA-256 of the device's secret.
CREATE TABLE known_devices (
    digest bytea PRIMARY KEY,
    person_id uuid REFERENCES people (id),
    operator_id uuid REFERENCES operators (id),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    CONSTRAINT known_devices_one_owner CHECK (num_nonnulls(person_id, operator_id) = 1)
);
CREATE INDEX known_devices_by_person ON known_devices (person_id, created_at) WHERE person_id IS NOT NULL;
CREATE INDEX known_devices_by_operator ON known_devices (operator_id, created_at) WHERE operator_id IS NOT NULL;
CREATE INDEX known_devices_by_age ON known_devices (created_at);

-- The requester of a code is a known device of the phone number's owner, or a network address. The column holds a keyed
-- digest of the requester.
ALTER TABLE one_time_codes
    ADD COLUMN requester bytea,
    -- squawk-ignore adding-field-with-default
    ADD COLUMN is_known_device boolean NOT NULL DEFAULT false;

-- The service counts wrong passwords and wrong codes of the second factor separately. Each requester has its own
-- counts.
ALTER TABLE operator_sign_in_tries
    ADD COLUMN requester bytea,
    -- squawk-ignore adding-field-with-default
    ADD COLUMN is_known_device boolean NOT NULL DEFAULT false,
    -- squawk-ignore adding-field-with-default
    ADD COLUMN factor text NOT NULL DEFAULT 'password';
ALTER TABLE operator_sign_in_tries ADD CONSTRAINT operator_sign_in_tries_factor_check
    CHECK (factor IN ('password', 'code')) NOT VALID;

-- known_device_digest identifies the known device that the service recorded when it issued this token.
ALTER TABLE operator_tokens ADD COLUMN known_device_digest bytea;

-- must_change_password is true while the operator still has the password that the command line printed.
-- squawk-ignore adding-field-with-default
ALTER TABLE operators ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
