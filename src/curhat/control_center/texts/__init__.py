"""The texts that people accept, as operators see and publish them (P.1)."""
