"""Measured claims: one file a claim, each beside what it is compared with in the same run. See README.md."""
