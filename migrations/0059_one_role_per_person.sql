-- squawk-ignore-file constraint-missing-not-valid  -- one scan of the people
-- The number of a person whose account is deleted, and a person who can have only one role (P.3).

-- A deleted person keeps the row without the number. The column still needs a unique number in the form of E.164, so
-- that the previous release can read it. No country has +999.
CREATE SEQUENCE deleted_phone_numbers MAXVALUE 999999999999;
-- Null: the owner of the number can be a customer and a mitra. After the deletion of one of two roles, the person has
-- only the other role. If the owner of the number comes back in the deleted role, another person is made for that role.
ALTER TABLE people ADD COLUMN only_role text;
ALTER TABLE people ADD CONSTRAINT people_only_role_check CHECK (only_role IN ('customer', 'mitra')) NOT VALID;
ALTER TABLE people VALIDATE CONSTRAINT people_only_role_check;
