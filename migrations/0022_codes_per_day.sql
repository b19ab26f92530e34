-- Each row counts the one-time codes for phone numbers of one country on one day. Each code costs money. A limit per
-- day bounds the costs that an attacker can cause by asking for codes to many phone numbers (toll fraud).

CREATE TABLE code_days (
    -- The day in UTC.
    day date NOT NULL,
    -- The region is the country of the phone number (ISO 3166-1).
    region text NOT NULL CHECK (region ~ '^[A-Z0-9]{2,3}$'),
    codes integer NOT NULL CHECK (codes > 0),
    PRIMARY KEY (day, region)
);
