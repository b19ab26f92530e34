"""Shared code of the claims: the measured servers, the rows, the load generators, and the report."""
