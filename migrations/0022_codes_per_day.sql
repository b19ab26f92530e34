-- How many one-time codes the service makes per day and country. Each code costs money, so a ceiling per day limits
-- what an attacker can cost who asks for codes to many phone numbers (toll fraud).

CREATE TABLE code_days (
    -- The day in UTC.
    day date NOT NULL,
    -- The country of the phone number (ISO 3166-1).
    region text NOT NULL CHECK (region ~ '^[A-Z0-9]{2,3}$'),
    codes integer NOT NULL CHECK (codes > 0),
    PRIMARY KEY (day, region)
);
