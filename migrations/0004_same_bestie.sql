-- Holds the number of targeted pairing and extensions: their own file takes this one's place.
SELECT 1;
