"""The five configuration rows, as operators see and change them (X.5)."""
