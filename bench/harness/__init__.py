"""What the claims share: servers to measure, rows to measure on, load to measure with, and the report."""
